// The drop-in transport, as a framework uses it that only knows nodemailer: on every supported major.

import { memoryStore, SteadymailError, wrapTransport } from 'steadymail'
import { manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MAJORS } from './nodemailers.ts'
import { mail, runner } from './scenarios/world.ts'

async function drop(
  { nodemailer }: (typeof MAJORS)[number],
  innerOptions: object = {},
  outerDefaults?: object,
) {
  const server = await smtpServer()
  const clock = manualClock()
  const inner = nodemailer.createTransport({
    host: server.host,
    port: server.port,
    ignoreTLS: true,
    ...innerOptions,
  })
  const mailer = wrapTransport(inner as never, { store: memoryStore(), clock })
  const outer = nodemailer.createTransport(mailer.transport(), outerDefaults)
  onTestFinished(async () => {
    await clock.runUntil(mailer.close({ timeout: 0 }))
    await server.close()
  })
  const { run } = runner(clock, mailer)
  return { server, mailer, inner, outer, run, send: (data: object) => outer.sendMail(data) as Promise<Info> }
}

interface Info {
  readonly accepted: readonly string[]
  readonly rejected: readonly string[]
  readonly messageId: string
  readonly response: string
  readonly envelope: { readonly from: string; readonly to: readonly string[] }
  readonly ticket: {
    readonly id: string
    readonly duplicate: boolean
    settled(): Promise<{ readonly status: string }>
  }
}

describe.each(MAJORS)('nodemailer $major', (major) => {
  it('sendMail resolves when stored, and the mail arrives', async () => {
    const d = await drop(major)
    const info = await d.send(mail(['a@one.test', 'b@two.test']))
    expect(info).toMatchObject({
      accepted: ['a@one.test', 'b@two.test'],
      rejected: [],
      response: `250 2.0.0 queued as ${info.ticket.id}`,
      envelope: { from: 'shop@sender.test', to: ['a@one.test', 'b@two.test'] },
    })
    expect((await d.run(info.ticket.settled())).status).toBe('accepted')
    expect(d.server.messages[0]?.text).toContain(`Message-ID: ${info.messageId}`)
    expect(d.server.messages.flatMap((m) => m.to).sort()).toEqual(['a@one.test', 'b@two.test'])
  })

  it('options ride on the mail', async () => {
    const d = await drop(major)
    const one = await d.send({ ...mail('a@one.test'), steadymail: { key: 'order-1', meta: { n: 1 } } })
    const two = await d.send({ ...mail('a@one.test'), steadymail: { key: 'order-1' } })
    expect([one.ticket.duplicate, two.ticket.duplicate]).toEqual([false, true])
    expect(await d.mailer.list()).toMatchObject([{ key: 'order-1', meta: { n: 1 } }])
    await d.run(d.mailer.idle())
    expect(d.server.messages[0]?.text).not.toMatch(/steadymail|order-1/)
  })

  it('errors of the mail and of the options reach the caller', async () => {
    const d = await drop(major)
    await expect(d.send({ ...mail('a@one.test'), steadymail: { keys: 'x' } })).rejects.toThrow(
      "keys: expected a known option, perhaps 'key', got 'keys'",
    )
    await expect(d.send({ ...mail('a@one.test'), steadymail: 'high' })).rejects.toThrow(
      "mail.steadymail: expected an object of sendWithRetry options, got 'high'",
    )
    await expect(d.send({ ...mail('a@one.test'), to: 'nobody' })).rejects.toThrow(/expected/)
    expect(await d.mailer.list()).toEqual([])
  })

  it("the inner transporter's defaults and plugins apply", async () => {
    const d = await drop(major)
    const compile = (m: { data: { headers?: object } }, done: () => void) => {
      m.data.headers = { 'X-Inner': 'yes' }
      done()
    }
    d.inner.use('compile', compile as never)
    await d.send({
      ...mail('a@one.test'),
      attachments: [{ filename: 'a.txt', content: Buffer.from('attached') }],
    })
    await d.run(d.mailer.idle())
    const text = d.server.messages[0]?.text ?? ''
    expect(text.match(/X-Inner: yes/g)).toHaveLength(1)
    expect(text).toContain(Buffer.from('attached').toString('base64'))
  })

  it('DKIM of the outer transporter is refused, with what to do', async () => {
    const d = await drop(major)
    const dkim = { domainName: 'sender.test', keySelector: 'x', privateKey: 'unused' }
    const error = await d.send({ ...mail('a@one.test'), dkim }).catch((e: unknown) => e)
    expect(SteadymailError.is(error)).toBe(true)
    expect((error as Error).message).toBe(
      'a stream plugin or DKIM of the outer transporter cannot apply to a stored message: give it to the transporter that wrapTransport wraps',
    )
  })

  it('a stream plugin of the outer transporter is refused, too', async () => {
    const d = await drop(major)
    const stream = (m: { message: { transform(t: () => unknown): void } }, done: () => void) => {
      m.message.transform(() => {
        throw new Error('never run')
      })
      done()
    }
    d.outer.use('stream', stream as never)
    await expect(d.send(mail('a@one.test'))).rejects.toThrow(
      'a stream plugin or DKIM of the outer transporter',
    )
  })

  it('verify asks the inner transporter', async () => {
    const d = await drop(major)
    const outer = d.outer as unknown as { verify(): Promise<unknown> }
    expect(await outer.verify()).toBe(true)
    await d.server.down()
    await expect(outer.verify()).rejects.toThrow('ECONNREFUSED')
  })
})
