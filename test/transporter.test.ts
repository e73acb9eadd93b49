import { EventEmitter } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { SteadymailError } from '../src/core/error.ts'
import { scriptedTransport } from '../src/testing/scripted-transport.ts'
import { smtpServer } from '../src/testing/smtp-server.ts'
import { DROP_IN, openTarget } from '../src/transporter.ts'
import { MAJORS, withServer } from './nodemailers.ts'

let cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const one of cleanUp) await one()
  cleanUp = []
})

function refusal(input: unknown): string {
  try {
    openTarget(input)
  } catch (error) {
    return SteadymailError.is(error) ? `${error.code} ${error.path}: ${error.message}` : String(error)
  }
  return 'none'
}

describe.each(MAJORS)('nodemailer $major', ({ nodemailer, major }) => {
  test('an ordinary SMTP transporter', () => {
    const transporter = nodemailer.createTransport({
      host: 'mail.test',
      port: 25,
      auth: { user: 'u', pass: 'p' },
    })
    const target = openTarget(transporter)
    expect(target).toMatchObject({
      kind: 'smtp',
      name: 'SMTP',
      host: 'mail.test',
      defaultRoute: 'relay',
      maxConnections: undefined,
      owned: false,
      abortable: major >= 10,
      advice: [],
    })
  })

  test('a pool tells its connections, and is given advice about its own retries', () => {
    const pool = nodemailer.createTransport({ host: 'mail.test', pool: true, maxConnections: 7 })
    const target = openTarget(pool)
    expect(target).toMatchObject({ kind: 'smtp-pool', name: 'SMTP (pool)', maxConnections: 7 })
    expect(target.advice).toEqual([
      'set maxRequeues: 0 on the pool, so that every retry is one that steadymail has counted',
    ])
    const silent = nodemailer.createTransport({ host: 'mail.test', pool: true, maxRequeues: 0 })
    expect(openTarget(silent)).toMatchObject({ maxConnections: 5, advice: [] })
  })

  test.each([
    [{ sendmail: true }, 'Sendmail'],
    [{ streamTransport: true }, 'StreamTransport'],
    [{ jsonTransport: true }, 'JSONTransport'],
    [{ SES: { sesClient: {}, SendEmailCommand: class {} } }, 'SESTransport'],
  ])('%j takes whole messages', (options, name) => {
    expect(openTarget(nodemailer.createTransport(options))).toMatchObject({
      kind: 'sendmail-only',
      name,
      host: undefined,
    })
  })

  test('verify connects and logs in', async () => {
    await withServer({ auth: { users: { u: 'p' } } }, async ({ host, port }) => {
      const login = (pass: string) => nodemailer.createTransport({ host, port, auth: { user: 'u', pass } })
      await openTarget(login('p')).verify()
      await expect(openTarget(login('wrong')).verify()).rejects.toThrow('535')
    })
  })

  test('the user’s transporter gets one error listener, and loses it on close', async () => {
    const transporter = nodemailer.createTransport({ host: 'mail.test', pool: true })
    const emitter = transporter as unknown as EventEmitter
    const before = { ...transporter, transporter: undefined }
    const errors: Error[] = []
    const target = openTarget(transporter, { onError: (error) => errors.push(error) })
    expect(emitter.listenerCount('error')).toBe(1)
    const inner = transporter.transporter as unknown as EventEmitter
    inner.emit('error', new Error('outside of any send'))
    expect(errors.map(({ message }) => message)).toEqual(['outside of any send'])
    await target.close()
    expect(emitter.listenerCount('error')).toBe(0)
    expect(Object.keys({ ...transporter, transporter: undefined })).toEqual(Object.keys(before))
    expect((transporter.transporter as { _closed?: boolean })._closed).toBeFalsy()
  })
})

describe('what steadymail makes itself', () => {
  test('options and URLs become transporters that it closes', async () => {
    const server = await smtpServer()
    cleanUp.push(() => server.close())
    const options = openTarget({ host: server.host, port: server.port, pool: true, maxConnections: 2 })
    expect(options).toMatchObject({ kind: 'smtp-pool', owned: true, maxConnections: 2 })
    await options.close()
    expect((options.transport as { _closed?: boolean })._closed).toBe(true)
    const url = openTarget('smtps://user:secret@mail.test:465/?pool=true')
    expect(url).toMatchObject({ kind: 'smtp-pool', owned: true, host: 'mail.test' })
    await url.close()
  })

  test('nothing is connected before the first send', async () => {
    await withServer({}, async (server) => {
      openTarget({ host: server.host, port: server.port, pool: true })
      await new Promise(setImmediate)
      expect(server.counts.connections).toBe(0)
    })
  })
})

describe('plugins and mocks', () => {
  test('a plugin is used as it is: no mailer is put into it', async () => {
    const plugin = Object.assign(new EventEmitter(), {
      name: 'api',
      version: '1',
      send(_mail: unknown, done: (error: null, info: object) => void) {
        done(null, {})
      },
    })
    const target = openTarget(plugin)
    expect(target).toMatchObject({ kind: 'plugin', name: 'api', owned: false, abortable: false })
    expect(plugin.eventNames()).toEqual(['error'])
    expect('mailer' in plugin).toBe(false)
    await target.verify()
    await target.close()
    expect(plugin.eventNames()).toEqual([])
  })

  test('verify of a plugin may call back, promise or just return', async () => {
    const plugin = (verify: unknown) => openTarget({ name: 'p', version: '1', send() {}, verify })
    await plugin((done: (error: null) => void) => done(null)).verify()
    await plugin(async () => true).verify()
    await plugin(() => true).verify()
    await expect(plugin((done: (error: Error) => void) => done(new Error('no'))).verify()).rejects.toThrow(
      'no',
    )
  })

  test('a transport may say that it delivers directly', () => {
    expect(openTarget(scriptedTransport([], { route: 'direct' })).defaultRoute).toBe('direct')
    expect(openTarget(scriptedTransport()).defaultRoute).toBe('relay')
  })

  test('an object with only sendMail', () => {
    expect(openTarget({ sendMail: async () => ({}) })).toMatchObject({
      kind: 'sendmail-only',
      name: 'sendMail',
      owned: false,
      abortable: false,
    })
  })
})

describe('what cannot send mail is refused', () => {
  const expected =
    'BAD_OPTION transporter: transporter: expected a nodemailer transporter, a transport plugin, transport options, or an smtp:// or smtps:// URL, got '
  test.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [42, '42'],
    [{}, 'an object with no keys'],
    [{ hots: 'mail.test' }, 'an object with hots'],
    ['mail.test', 'a string that is no such URL'],
    ['http://user:secret@mail.test', 'a string that is no such URL'],
  ])('%j', (input, got) => {
    expect(refusal(input)).toBe(expected + got)
  })

  test('a steadymail mailer or drop-in, bare or in a transporter, is not wrapped again', () => {
    const dropIn = { name: 'steadymail', version: '1', send() {}, [DROP_IN]: true }
    for (const ours of [
      dropIn,
      { sendMail: async () => ({}), transporter: dropIn },
      { sendWithRetry: async () => ({}), sendMail: async () => ({}) },
    ]) {
      expect(refusal(ours)).toBe(`${expected}a steadymail mailer or transport, which is wrapped already`)
    }
  })

  test('no message shows a password', () => {
    expect(refusal('smtp://user:secret@[bad')).not.toContain('secret')
    expect(refusal({ SES: { ses: {}, aws: {} }, auth: { pass: 'secret' } })).not.toContain('secret')
  })
})
