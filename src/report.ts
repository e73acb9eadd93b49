// What the mailer writes to the user's logger: transitions and troubles, with addresses shortened,
// never a body, never credentials. Without a logger only what would be lost for good is said, on stderr.

import { types } from 'node:util'
import { shortenAddress } from './address.ts'
import type { AboutRecipient, Events } from './events.ts'

/** pino's shape; console has it too. */
export interface Logger {
  debug(fields: object, message?: string): void
  info(fields: object, message?: string): void
  warn(fields: object, message?: string): void
  error(fields: object, message?: string): void
}

export interface Reporter {
  follow(events: Events): void
  listenerError(event: string, error: unknown): void
  /** `onSettled` threw or rejected: it is asked again later. */
  handlerError(error: unknown): void
  transportError(error: Error): void
  /** Messages of a memory store that end with the process. */
  lost(messages: number): void
  /** Says at the process's end what a memory store loses. */
  atExit(count: () => number): void
  close(): void
}

export function report(given: Logger | undefined): Reporter {
  const logger = given && shielded(given)
  let onExit: (() => void) | undefined
  const lost = (messages: number) => {
    const text = `steadymail: ${messages} undelivered in the memory outbox, lost with this process; sqliteStore keeps them`
    if (logger === undefined) process.stderr.write(`${text}\n`)
    else logger.warn({ undelivered: messages }, text)
  }
  return {
    follow(events) {
      if (logger === undefined) return
      const who = (e: AboutRecipient) => ({
        id: e.id,
        key: e.key,
        to: shortenAddress(e.recipient.address),
        lane: e.recipient.lane,
      })
      events.on('accepted', (e) => logger.debug({ ...who(e), reply: e.reply.text }, 'accepted'))
      events.on('deferred', (e) =>
        logger.info(
          { ...who(e), cause: e.verdict.cause, rule: e.verdict.rule, nextAttemptAt: e.nextAttemptAt },
          'deferred',
        ),
      )
      events.on('failed', (e) =>
        logger.warn({ ...who(e), reason: e.reason, cause: e.verdict?.cause }, 'failed'),
      )
      events.on('uncertain', (e) => logger.warn(who(e), 'uncertain'))
      events.on('parked', (e) => logger.warn({ ...who(e), why: e.why }, 'parked'))
      events.on('held', (e) => logger.warn({ ...e }, 'lane held'))
      events.on('recovering', (e) => logger.info({ ...e }, 'lane recovering'))
      events.on('opened', (e) => logger.info({ ...e }, 'lane opened'))
      events.on('adapted', (e) => logger.info({ ...e }, 'lane adapted'))
      events.on('trouble', (e) => logger.error({ ...e }, 'trouble'))
      events.on('owner', (e) => logger.info({ ...e }, e.owner ? 'delivering' : 'not delivering'))
    },
    listenerError(event, error) {
      if (logger === undefined)
        process.emitWarning(`steadymail: a listener of '${event}' failed: ${inWords(error)}`)
      else logger.error({ event, err: error }, 'a listener failed')
    },
    handlerError(error) {
      if (logger === undefined)
        process.emitWarning(`steadymail: onSettled failed and is called again later: ${inWords(error)}`)
      else logger.error({ err: error }, 'onSettled failed and is called again later')
    },
    transportError(error) {
      logger?.warn({ err: error }, 'the transport emitted an error')
    },
    lost,
    atExit(count) {
      if (onExit !== undefined) return
      onExit = () => {
        const undelivered = count()
        if (undelivered > 0) lost(undelivered)
      }
      process.on('exit', onExit)
    },
    close() {
      if (onExit !== undefined) process.off('exit', onExit)
    },
  }
}

/** The user's logger may fail; mail goes on. It is said once. */
function shielded(logger: Logger): Logger {
  let said = false
  const failed = (error: unknown) => {
    if (!said) process.emitWarning(`steadymail: the logger failed: ${inWords(error)}`)
    said = true
  }
  const line = (level: keyof Logger) => (fields: object, message?: string) => {
    try {
      const answer: unknown = logger[level](fields, message)
      if (types.isPromise(answer)) answer.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
}

/** Anything can be thrown, also what cannot be made a text. */
function inWords(error: unknown): string {
  try {
    return String(error)
  } catch {
    return 'something that has no words'
  }
}
