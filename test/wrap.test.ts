// What can be wrapped: every shape in which applications have their transport.

import { createTransport } from 'nodemailer'
import { memoryStore, wrapTransport } from 'steadymail'
import { manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TRANSPORTERS } from './nodemailers.ts'
import { mail, runner } from './scenarios/world.ts'

async function delivers(input: (server: { host: string; port: number; url: string }) => unknown) {
  const server = await smtpServer({
    script: { on: 'rcpt', times: 1, answer: '450 4.2.1 Receiving mail too quickly' },
  })
  const clock = manualClock()
  const mailer = wrapTransport(input(server) as never, { store: memoryStore(), clock })
  onTestFinished(async () => {
    await clock.runUntil(mailer.close({ timeout: 0 }))
    await server.close()
  })
  const ticket = await mailer.sendWithRetry(mail(['a@one.test', 'b@one.test']))
  const outcome = await runner(clock, mailer).run(ticket.settled())
  return { server, outcome, ticket }
}

describe('a message is delivered through', () => {
  it.each(TRANSPORTERS)('a transporter of $name', async ({ nodemailer, pool }) => {
    let transporter: { close(): void } | undefined
    const { outcome, server, ticket } = await delivers(({ host, port }) => {
      const made = nodemailer.createTransport({ host, port, pool, ignoreTLS: true, maxRequeues: 0 })
      transporter = made
      return made
    })
    transporter?.close()
    expect(outcome.status).toBe('accepted')
    expect(outcome.recipients.map((r) => r.tries)).toEqual([2, 1])
    expect(server.messages.map((m) => m.to)).toEqual([['b@one.test'], ['a@one.test']])
    expect(server.messages[0]?.text).toBe(server.messages[1]?.text)
    expect(server.messages[0]?.text).toContain(ticket.messageId)
  })

  it('a URL', async () => {
    const { outcome } = await delivers(({ url }) => `${url}?ignoreTLS=true`)
    expect(outcome.status).toBe('accepted')
  })

  it('the options of a transport', async () => {
    const { outcome } = await delivers(({ host, port }) => ({ host, port, pool: true, ignoreTLS: true }))
    expect(outcome.status).toBe('accepted')
  })

  it('a transport plugin', async () => {
    const { outcome } = await delivers(({ host, port }) => {
      const { transporter } = createTransport({ host, port, ignoreTLS: true })
      return {
        name: 'own',
        version: '1.0.0',
        send: (m: never, done: never) =>
          (transporter as unknown as { send(m: never, d: never): void }).send(m, done),
      }
    })
    expect(outcome.status).toBe('accepted')
  })

  it('an object that has only sendMail, as raw bytes and envelope', async () => {
    const calls: { raw: Buffer; envelope: { from: string; to: string[] } }[] = []
    const clock = manualClock()
    const mailer = wrapTransport(
      {
        async sendMail(m: { raw: Buffer; envelope: { from: string; to: string[] } }) {
          calls.push(m)
          if (calls.length === 1)
            throw Object.assign(new Error('Throttling'), { name: 'ThrottlingException', code: 'ESES' })
          return { messageId: 'x', response: 'ok' }
        },
      } as never,
      { store: memoryStore(), clock },
    )
    const ticket = await mailer.sendWithRetry({ ...mail('a@one.test'), bcc: 'hidden@one.test' })
    const outcome = await runner(clock, mailer).run(ticket.settled())
    await clock.runUntil(mailer.close())
    expect(outcome.status).toBe('accepted')
    expect(outcome.recipients[0]?.history[0]).toMatchObject({ verdict: { cause: 'rate-limit' } })
    // the throttled lane goes on with one recipient at a time
    expect(calls.map((c) => c.envelope.to)).toEqual([
      ['a@one.test', 'hidden@one.test'],
      ['a@one.test'],
      ['hidden@one.test'],
    ])
    expect(calls[0]?.envelope.from).toBe('shop@sender.test')
    expect(String(calls[0]?.raw)).toBe(String(calls.at(-1)?.raw))
    expect(String(calls[0]?.raw)).not.toContain('hidden')
    expect(String(calls[0]?.raw)).toContain(ticket.messageId)
  })

  it('a transporter whose connection breaks with an error event, without ending the process', async () => {
    const server = await smtpServer()
    const transporter = createTransport({
      host: server.host,
      port: server.port,
      pool: true,
      ignoreTLS: true,
    } as never)
    const errors: unknown[] = []
    const quiet = () => undefined
    const mailer = wrapTransport(transporter, {
      store: memoryStore(),
      logger: { debug: quiet, info: quiet, error: quiet, warn: (fields) => errors.push(fields) },
    })
    transporter.emit('error', new Error('socket hang up'))
    expect(errors).toEqual([{ err: new Error('socket hang up') }])
    await mailer.close()
    transporter.close()
    await server.close()
  })
})

it('wrapTransport opens no connection and no store', async () => {
  const server = await smtpServer()
  const transporter = createTransport({ host: server.host, port: server.port })
  let opened = 0
  const inner = memoryStore()
  const store = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'open') opened++
      const value = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const mailer = wrapTransport(transporter, { store })
  opened = 0
  await new Promise((resolve) => setImmediate(resolve))
  expect(server.counts.connections).toBe(0)
  expect(opened).toBe(0)
  await mailer.close()
  await server.close()
})
