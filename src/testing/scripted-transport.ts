// A nodemailer transport that sends nothing and answers what a script says: for tests and simulations of
// many thousand attempts, where a socket would only cost time. It answers as a transport written for
// steadymail does, one reply per recipient, and asks for the body exactly when an SMTP client would send it.
// Not here: a real server (smtp-server.ts).

import type { OwnAnswer } from '../answer.ts'
import type { FrozenMail } from '../attempt.ts'
import type { Phase, Reply } from '../core/reply.ts'

/** One attempt, as the script sees it. */
export interface ScriptedAttempt {
  /** 1 for the transport's first attempt. */
  readonly number: number
  readonly from: string
  readonly to: readonly string[]
  readonly messageId: string
  /** What the engine told the transport, if anything. */
  readonly hints: Readonly<Record<string, unknown>> | undefined
}

/**
 * What happens to a recipient: a reply (code and text), a failure without one, or `drop`: the connection is
 * lost after the body, and nobody knows.
 */
export type ScriptedAnswer =
  | `${number} ${string}`
  | `${number}-${string}`
  | 'drop'
  | {
      readonly reply?: string
      /** What failed instead of a reply, as `ECONNREFUSED`. */
      readonly errno?: string
      /** @default 'dot' for 2xx and `drop`, 'rcpt' for other replies, 'greeting' for an errno */
      readonly phase?: Phase
      /** Whether it may have been delivered. @default whether the phase is 'dot' and there is no reply */
      readonly uncertain?: boolean
    }

/** One answer for all recipients, or one by address; whom it does not name is accepted. */
export type ScriptedAnswers =
  | ScriptedAnswer
  | { readonly recipients: Readonly<Record<string, ScriptedAnswer>> }
  | undefined

/** A list gives one answer per attempt; when it is used up, all is accepted. */
export type TransportScript =
  | readonly ScriptedAnswers[]
  | ((attempt: ScriptedAttempt) => ScriptedAnswers | Promise<ScriptedAnswers>)

/** How a scripted transport presents itself, and what it keeps. */
export interface ScriptedTransportOptions {
  /** @default 'relay' */
  readonly route?: 'relay' | 'direct'
  /** Keep `attempts`. @default true */
  readonly record?: boolean
  /** Keep the bodies in `attempts` too. @default false */
  readonly bodies?: boolean
}

/** What a scripted transport keeps of an attempt. */
export interface RecordedAttempt extends ScriptedAttempt {
  /** One per recipient, in their order. */
  readonly replies: readonly Reply[]
  readonly accepted: readonly string[]
  /** With `bodies`, and only if the body was asked for. */
  readonly bytes: Uint8Array | undefined
}

/** What `sendMail` over a scripted transport resolves to. */
export interface ScriptedInfo {
  readonly envelope: { readonly from: string; readonly to: readonly string[] }
  readonly messageId: string
  readonly accepted: readonly string[]
  readonly rejected: readonly string[]
  readonly response: string
}

/** Give it to `wrapTransport` or to nodemailer's `createTransport`. */
export interface ScriptedTransport {
  readonly name: 'scripted'
  readonly version: string
  readonly supportsAbortSignal: true
  readonly steadymail: { readonly route: 'relay' | 'direct' }
  readonly attempts: readonly RecordedAttempt[]
  send(mail: never, callback: (error: Error | null, info: ScriptedInfo) => void): void
  verify(): Promise<true>
}

/**
 * Makes a transport that answers by a script.
 *
 * ```ts
 * const transport = scriptedTransport(['421 4.7.0 Try again later', 'drop', '250 2.0.0 Ok'])
 * const byRule = scriptedTransport(({ to }) => (to[0]?.endsWith('@busy.test') ? '421 4.7.0 Busy' : undefined))
 * ```
 */
export function scriptedTransport(
  script: TransportScript = [],
  options: ScriptedTransportOptions = {},
): ScriptedTransport {
  const { route = 'relay', record = true, bodies = false } = options
  const attempts: RecordedAttempt[] = []
  let count = 0

  const answersTo = (attempt: ScriptedAttempt): ScriptedAnswers | Promise<ScriptedAnswers> =>
    typeof script === 'function' ? script(attempt) : script[attempt.number - 1]

  const send = (mail: StrangeMail, callback: Callback) => {
    const { from, to } = mail.message.getEnvelope()
    const attempt: ScriptedAttempt = {
      number: ++count,
      from: from || '',
      to,
      messageId: mail.message.messageId(),
      hints: mail.data.steadymail,
    }
    const once = onceWithSignal(mail.data.signal, callback)
    const finish = (answers: ScriptedAnswers, bytes: Uint8Array | undefined) => {
      if (once.isDone()) return
      const own = ownAnswer(to, answers)
      if (record) attempts.push(recorded(attempt, own, bodies ? bytes : undefined))
      respond(own, attempt, once.done)
    }
    const proceed = (answers: ScriptedAnswers) => {
      if (!reachesBody(to, answers)) {
        finish(answers, undefined)
        return
      }
      const body = takeBody(mail, bodies)
      if (body instanceof Promise) body.then((bytes) => finish(answers, bytes), once.done)
      else finish(answers, body)
    }
    try {
      const answers = answersTo(attempt)
      if (answers instanceof Promise) answers.then(proceed).catch(once.done)
      else proceed(answers)
    } catch (error) {
      once.done(error)
    }
  }

  return {
    name: 'scripted',
    version: '1',
    supportsAbortSignal: true,
    steadymail: { route },
    attempts,
    send: send as ScriptedTransport['send'],
    verify: async () => true,
  }
}

type Callback = (error: unknown, info?: unknown) => void

/** A mail from steadymail, or from nodemailer, which has no `takeBody`. */
interface StrangeMail {
  readonly data: { readonly steadymail?: Readonly<Record<string, unknown>>; readonly signal?: AbortSignal }
  readonly message: Omit<FrozenMail['message'], 'takeBody' | 'createReadStream'> & {
    readonly takeBody?: FrozenMail['message']['takeBody']
    createReadStream(): NodeJS.ReadableStream
  }
}

function takeBody({ message }: StrangeMail, whole: boolean): Uint8Array | Promise<Uint8Array> {
  if (message.takeBody) return message.takeBody()
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const stream = message.createReadStream()
    stream.on('data', (chunk: Buffer) => {
      if (whole) chunks.push(chunk)
    })
    stream.once('error', reject)
    stream.once('end', () => resolve(Buffer.concat(chunks)))
  })
}

function onceWithSignal(signal: AbortSignal | undefined, callback: Callback) {
  let done = false
  const abort = () => finish(Object.assign(new Error('aborted'), { code: 'EABORT' }))
  const finish: Callback = (error, info) => {
    if (done) return
    done = true
    signal?.removeEventListener('abort', abort)
    callback(error, info)
  }
  signal?.addEventListener('abort', abort, { once: true })
  return { done: finish, isDone: () => done }
}

function answerFor(address: string, answers: ScriptedAnswers): ScriptedAnswer {
  if (answers === undefined) return '250 2.0.0 Ok'
  if (typeof answers === 'object' && 'recipients' in answers) {
    return answers.recipients[address] ?? '250 2.0.0 Ok'
  }
  return answers
}

function reachesBody(to: readonly string[], answers: ScriptedAnswers): boolean {
  return to.some((address) => replyTo(answerFor(address, answers)).reply.phase === 'dot')
}

function ownAnswer(to: readonly string[], answers: ScriptedAnswers): OwnAnswer {
  return { recipients: to.map((address) => ({ address, ...replyTo(answerFor(address, answers)) })) }
}

function replyTo(answer: ScriptedAnswer): { accepted: boolean; reply: Reply; uncertain: boolean } {
  const said = answer === 'drop' ? { phase: 'dot' as const, errno: 'ECONNECTION' } : answer
  const { reply: text, ...facts } = typeof said === 'string' ? { reply: said } : { reply: undefined, ...said }
  const code = text === undefined ? undefined : Number(text.slice(0, 3))
  if (text !== undefined && !(code !== undefined && code >= 200 && code < 600)) {
    throw new Error(`a transport script answered '${text}': expected a code and a text, or 'drop'`)
  }
  const { phase, errno, uncertain } = facts as { phase?: Phase; errno?: string; uncertain?: boolean }
  const accepted = code !== undefined && code < 300
  const where = phase ?? (accepted ? 'dot' : text === undefined ? 'greeting' : 'rcpt')
  const enhanced = text === undefined ? undefined : /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/.exec(text)?.[1]
  return {
    accepted,
    reply: {
      ...(code !== undefined && { code }),
      ...(enhanced !== undefined && { enhanced }),
      text: text ?? errno ?? 'connection lost',
      phase: where,
      ...(text === undefined && { errno: errno ?? 'ECONNECTION' }),
    },
    uncertain: uncertain ?? (text === undefined && where === 'dot'),
  }
}

function recorded(attempt: ScriptedAttempt, own: OwnAnswer, bytes: Uint8Array | undefined): RecordedAttempt {
  return {
    ...attempt,
    replies: own.recipients.map(({ reply }) => reply),
    accepted: own.recipients.filter(({ accepted }) => accepted).map(({ address }) => address),
    bytes,
  }
}

/** As nodemailer's transports do: an error when nobody was accepted. */
function respond(own: OwnAnswer, attempt: ScriptedAttempt, done: Callback): void {
  const first = own.recipients.find(({ accepted }) => accepted)
  const { from, to, messageId } = attempt
  if (!first) {
    const { reply } = own.recipients[0] ?? { reply: { text: 'no recipients', phase: 'unknown' } as Reply }
    const fields = { response: reply.text, responseCode: reply.code, code: reply.errno ?? 'EENVELOPE' }
    done(Object.assign(new Error(reply.text), fields, { steadymail: own }))
    return
  }
  const named = (accepted: boolean) =>
    own.recipients.filter((one) => one.accepted === accepted).map(({ address }) => address)
  done(null, {
    accepted: named(true),
    rejected: named(false),
    response: first.reply.text,
    envelope: { from, to },
    messageId,
    steadymail: own,
  })
}
