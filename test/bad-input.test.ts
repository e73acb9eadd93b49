// What is refused, and in which words: each error names what was wrong, before anything is stored.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createTransport } from 'nodemailer'
import {
  classifyReply,
  type Mailer,
  memoryStore,
  type SendOptions,
  SteadymailError,
  type WrapOptions,
  wrapTransport,
} from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { mail, world } from './scenarios/world.ts'

const good = mail('a@one.test')

async function refusal(call: () => unknown): Promise<SteadymailError> {
  try {
    await call()
  } catch (error) {
    if (SteadymailError.is(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

type Row = readonly [what: string, given: Record<string, unknown>, message: string]

describe('a reply to classify', () => {
  it.each([
    [undefined, "reply: expected a reply's text, or an object with its text, got undefined"],
    [{ code: 421 }, "reply: expected a reply's text, or an object with its text, got an object with code"],
  ])('that is %s', async (given, message) => {
    expect(await refusal(() => classifyReply(given as never))).toMatchObject({ code: 'BAD_OPTION', message })
  })
})

describe('a mail', () => {
  const rows: readonly Row[] = [
    ['without recipients', { to: undefined }, 'mail.to: expected at least one recipient, got none'],
    [
      'to nobody in a group',
      { to: 'undisclosed-recipients:;' },
      'mail.to: expected at least one recipient, got none',
    ],
    [
      'with an empty envelope',
      { envelope: { from: 'a@b.test', to: [] } },
      'mail.to: expected at least one recipient, got none',
    ],
    [
      'to an address with CR and LF',
      { to: 'a@one.test\r\nRCPT TO:<x@y.test>' },
      "mail.to: expected an address without CR, LF or NUL, got 'a@one.test\\x0d\\x0aRCPT TO:<x@y.test>'",
    ],
    [
      'to an address with NUL',
      { to: 'a\0@one.test' },
      "mail.to: expected an address without CR, LF or NUL, got 'a\\x00@one.test'",
    ],
    [
      'with LF in its envelope',
      { envelope: { from: 'a@b.test', to: 'x\n@one.test' } },
      "mail.envelope.to: expected an address without CR, LF or NUL, got 'x\\x0a@one.test'",
    ],
    [
      'from an address with LF',
      { from: 'shop\n@x.test' },
      "mail.from: expected an address without CR, LF or NUL, got 'shop\\x0a@x.test'",
    ],
    [
      'to an address without a domain',
      { to: ['a@one.test', 'admin'] },
      "mail.to[1]: expected an address with a domain, as 'name@example.com', got 'admin'",
    ],
    [
      'that is too large',
      { text: 'x'.repeat(6000) },
      expect.stringMatching(
        /^mail: expected at most 5000 bytes \(maxMessageBytes\), got \d+$/,
      ) as unknown as string,
    ],
    [
      'with a login of its own',
      { auth: { user: 'u', pass: 'secret' } },
      'mail.auth: expected no per-message login, because credentials are not stored; set auth on the transporter',
    ],
    [
      'with an attachment whose file is gone',
      { attachments: [{ path: '/gone/since/yesterday.pdf' }] },
      "mail.attachments: a file, URL or stream could not be read: ENOENT: no such file or directory, open '/gone/since/yesterday.pdf'",
    ],
    [
      'with an attachment whose URL does not answer',
      { attachments: [{ href: 'http://127.0.0.1:1/x.pdf' }] },
      'mail.attachments: a file, URL or stream could not be read: connect ECONNREFUSED 127.0.0.1:1',
    ],
  ]
  it.each(rows)('%s', async (_, given, message) => {
    const w = await world({ maxMessageBytes: 5000 })
    const error = await refusal(() => w.mailer.sendWithRetry({ ...good, ...given }))
    expect(error.message).toEqual(message)
    expect(error.code).toBe('BAD_MESSAGE')
    expect(await w.mailer.list(), 'nothing was stored').toEqual([])
    expect((await w.run(w.deliver('next@one.test')))[0]?.status, 'nothing else is lost').toBe('accepted')
  })

  it('that is none', async () => {
    const w = await world()
    const error = await refusal(() => w.mailer.sendWithRetry('hello' as never))
    expect(error.message).toBe("mail: expected an object as nodemailer's sendMail takes, got 'hello'")
  })
})

describe('an option of sendWithRetry', () => {
  const rows: readonly Row[] = [
    ['that is unknown', { keys: 'x' }, "keys: expected a known option, perhaps 'key', got 'keys'"],
    ['key: empty', { key: '' }, "key: expected a key that is not empty, got ''"],
    ['key: too long', { key: 'x'.repeat(256) }, 'key: expected at most 255 characters, got 256'],
    ['ttl: words', { ttl: '5 days' }, "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '5 days'"],
    ['ttl: negative', { ttl: '-5d' }, "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '-5d'"],
    ['ttl: none', { ttl: 0 }, 'ttl: expected more than 0, got 0'],
    ['priority', { priority: 'urgent' }, "priority: expected one of 'high', 'normal', 'bulk', got 'urgent'"],
    [
      'notBefore: words',
      { notBefore: 'tomorrow' },
      "notBefore: expected a valid Date or epoch ms, got 'tomorrow'",
    ],
    [
      'notBefore: no date',
      { notBefore: 9e15 },
      'notBefore: expected a valid Date or epoch ms, got 9000000000000000',
    ],
    ['meta: no JSON', { meta: 1n }, 'meta: expected a value that JSON can hold, got 1'],
    [
      'onUncertain',
      { onUncertain: 'maybe' },
      "onUncertain: expected one of 'retry', 'park', 'fail', got 'maybe'",
    ],
    ['signal', { signal: {} }, 'signal: expected an AbortSignal, got an object with no keys'],
  ]
  it.each(rows)('%s', async (_, given, message) => {
    const w = await world()
    const error = await refusal(() => w.mailer.sendWithRetry(good, given as SendOptions))
    expect(error.message).toBe(message)
    expect(error.code).toBe('BAD_OPTION')
    expect(error.path).toBe(message.split(':')[0])
    expect(await w.mailer.list()).toEqual([])
  })

  it('signal: aborted before the message is stored', async () => {
    const w = await world()
    const why = new Error('the user went away')
    const error = await refusal(() => w.mailer.sendWithRetry(good, { signal: AbortSignal.abort(why) }))
    expect(error).toMatchObject({
      code: 'ABORTED',
      message: 'aborted before the message was stored',
      cause: why,
    })
    expect(await w.mailer.list()).toEqual([])
  })

  it('signal: aborted while an attachment is waited for, which gives its place to others', async () => {
    const w = await world()
    const giveUp = new AbortController()
    const endless = () => ({ ...good, attachments: [{ content: new Readable({ read() {} }) }] })
    const refused = Array.from({ length: 80 }, () =>
      refusal(() => w.mailer.sendWithRetry(endless(), { signal: giveUp.signal })),
    )
    const behind = w.mailer.sendWithRetry({ ...good, html: Readable.from(['<p>']) })
    await w.rest()
    expect(await w.mailer.list()).toEqual([])
    giveUp.abort()
    for (const error of await Promise.all(refused)) expect(error.code).toBe('ABORTED')
    const { id } = await behind
    expect((await w.mailer.list()).map((message) => message.id)).toEqual([id])
  })
})

describe('an option of wrapTransport', () => {
  const policy = (fields: object) => ({ policies: [{ name: 'acme', domains: ['acme.test'], ...fields }] })
  const rule = (fields: object) => policy({ rules: [{ id: 'slow', cause: 'rate-limit', ...fields }] })
  const rows: readonly Row[] = [
    [
      'policies: none',
      { policies: [null] },
      'policies[0]: expected a policy, an object with a name, got null',
    ],
    [
      'policies: rules that are none',
      policy({ rules: [null] }),
      'policies[0].rules[0]: expected a rule, an object with an id, got null',
    ],
    ['that is unknown', { ttls: '5d' }, "ttls: expected a known option, perhaps 'ttl', got 'ttls'"],
    [
      'no store',
      { store: undefined },
      "store: expected a store, as memoryStore() or sqliteStore('outbox.db'), got undefined",
    ],
    ['ttl without a unit', { ttl: '20' }, "ttl: expected milliseconds or '<number><ms|s|m|h|d|w>', got '20'"],
    [
      'an unknown event',
      { on: { fail: () => 1 } },
      "on.fail: expected a known option, perhaps 'failed', got 'fail'",
    ],
    [
      'egress.rate without a time',
      { egress: { rate: '20' } },
      "egress.rate: expected '<number>/<s|min|h|d>', got '20'",
    ],
    [
      'egress.rate of none',
      { egress: { rate: '0/min' } },
      "egress.rate: expected a rate above 0, got '0/min'",
    ],
    [
      'egress.gate that is none',
      { egress: { gate: {} } },
      'egress.gate: expected a gate with schedule(fn), as bottleneckGate(limiter), got an object with no keys',
    ],
    [
      'a policy rate without a time',
      policy({ rate: '20' }),
      "policies[0].rate: expected '<number>/<s|min|h|d>', got '20'",
    ],
    [
      'an unknown policy field',
      policy({ rates: '1/s' }),
      "policies[0].rates: expected a known option, perhaps 'rate', got 'rates'",
    ],
    [
      'a rule with the g flag',
      rule({ text: /slow/g }),
      'policies[0].rules[0].text: expected a pattern without the g and y flags, which skip matches, got /slow/g',
    ],
    [
      'a rule with the y flag',
      rule({ text: /slow/y }),
      'policies[0].rules[0].text: expected a pattern without the g and y flags, which skip matches, got /slow/y',
    ],
    [
      'a rule that contradicts itself',
      rule({ code: 421, enhanced: '5.7.1' }),
      "policies[0].rules[0].enhanced: expected the class of code, '4.…', else it can never match, got '5.7.1'",
    ],
    [
      'a rule for what is no refusal',
      rule({ code: 250 }),
      "policies[0].rules[0].code: expected a refusal's code, 400 to 599, '4xx' or '5xx', got 250",
    ],
    [
      'a rule without a condition',
      rule({}),
      "policies[0].rules[0]: expected a condition (at least one of code, enhanced, text, phase), else it would match every reply, got 'slow'",
    ],
  ]
  it.each(rows)('%s', async (_, given, message) => {
    const transporter = createTransport({ host: '127.0.0.1' })
    const before = transporter.listenerCount('error')
    const error = await refusal(() =>
      wrapTransport(transporter, { store: memoryStore(), ...given } as WrapOptions),
    )
    expect(error.message).toBe(message)
    expect(error.code).toBe('BAD_OPTION')
    expect(error.path).toBe(message.split(':')[0])
    expect(transporter.listenerCount('error'), 'the transporter is left alone').toBe(before)
  })

  it('none at all', async () => {
    const error = await refusal(() => wrapTransport('smtp://127.0.0.1', undefined as never))
    expect(error.message).toBe(
      "options: expected options with a store, as { store: sqliteStore('outbox.db') }, got undefined",
    )
  })
})

describe('a verb', () => {
  const none = undefined as never
  const lane = "lane: expected a lane, a recipient domain, '@egress' or '@from:<domain>', got"
  const calls: readonly (readonly [string, (mailer: Mailer) => unknown, string])[] = [
    ['hold without a lane', (m) => m.hold(none), `${lane} undefined`],
    ['hold of an address', (m) => m.hold('a@one.test'), `${lane} 'a@one.test'`],
    ['hold of a typing mistake', (m) => m.hold('@egres'), `${lane} '@egres'`],
    [
      'hold until',
      (m) => m.hold('one.test', { til: 5 } as never),
      "til: expected one of for, reason, got 'til'",
    ],
    [
      'hold for a reason that is none',
      (m) => m.hold('one.test', { reason: 5 as never }),
      'reason: expected a non-empty text, got 5',
    ],
    ['release without a lane', (m) => m.release(none), `${lane} undefined`],
    ['explain nothing', (m) => m.explain(none), 'idOrLane: expected an id or a lane, got undefined'],
    [
      'eraseRecipient of nobody',
      (m) => m.eraseRecipient(none),
      'address: expected an address, got undefined',
    ],
    [
      'list what is in no state',
      (m) => m.list({ state: 'sent' as never }),
      "state: expected one of 'waiting', 'claimed', 'parked', 'accepted', 'failed', got 'sent'",
    ],
    [
      'list since no time',
      (m) => m.list({ settledSince: 'yesterday' as never }),
      "settledSince: expected a valid Date or epoch ms, got 'yesterday'",
    ],
    [
      'list by what it has not',
      (m) => m.list({ key: 'a' } as never),
      "key: expected one of state, settledSince, after, limit, got 'key'",
    ],
    [
      'list fewer than none',
      (m) => m.list({ limit: -1 }),
      'limit: expected a whole number, at least 1, got -1',
    ],
    [
      'on an event that is none',
      (m) => m.on('bounced' as never, () => undefined),
      "event: expected one of 'queued', 'accepted', 'deferred', 'failed', 'uncertain', 'parked', 'settled', 'held', 'probing', 'recovering', 'opened', 'adapted', 'trouble', 'owner', got 'bounced'",
    ],
    ['on without a listener', (m) => m.on('held', none), "on('held'): expected a function, got undefined"],
  ]
  it.each(calls)('%s', async (_what, call, message) => {
    const { mailer } = await world()
    expect((await refusal(() => call(mailer))).message).toBe(message)
  })

  it('explain of an address is of nothing known', async () => {
    const { mailer } = await world()
    expect(await mailer.explain('a@one.test')).toBeUndefined()
  })
})

describe('a transporter', () => {
  const EXPECTED =
    'transporter: expected a nodemailer transporter, a transport plugin, transport options, or an smtp:// or smtps:// URL'
  const WRAPPED = `${EXPECTED}, got a steadymail mailer or transport, which is wrapped already`

  it('that is wrapped already', async () => {
    const w = await world()
    const drop = w.mailer.transport()
    for (const wrapped of [w.mailer, drop, createTransport(drop as never)]) {
      const error = await refusal(() => wrapTransport(wrapped as never, { store: memoryStore() }))
      expect(error.message).toBe(WRAPPED)
    }
  })

  it.each([
    ['a number', 7, `${EXPECTED}, got 7`],
    ['an empty object', {}, `${EXPECTED}, got an object with no keys`],
    // never shown: it holds a password
    ['another URL', 'http://user:secret@x.test', `${EXPECTED}, got a string that is no such URL`],
  ])('that is none: %s', async (_, given, message) => {
    const error = await refusal(() => wrapTransport(given as never, { store: memoryStore() }))
    expect(error.message).toBe(message)
  })
})

describe('a database', () => {
  function file() {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-bad-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    return join(folder, 'outbox.db')
  }
  const refusedBy = async (path: string) => {
    const mailer = wrapTransport('smtp://127.0.0.1:1', { store: sqliteStore(path) })
    const errors = [await refusal(() => mailer.start()), await refusal(() => mailer.sendWithRetry(good))]
    await mailer.close()
    expect(errors[1]?.message, 'each time').toBe(errors[0]?.message)
    return errors[0]
  }

  it('that is none', async () => {
    const path = file()
    writeFileSync(path, 'Dear diary, '.repeat(500))
    expect(await refusedBy(path)).toMatchObject({
      code: 'STORE_FAILED',
      message: `${path}: the file is no SQLite database (SQLITE_NOTADB)`,
    })
  })

  it('of a newer version', async () => {
    const path = file()
    const first = wrapTransport('smtp://127.0.0.1:1', { store: sqliteStore(path) })
    await first.start()
    await first.close()
    // the user version is at offset 60 of the header: sqlite.org/fileformat.html §1.3
    const bytes = readFileSync(path)
    const known = bytes.readUInt32BE(60)
    bytes.writeUInt32BE(99, 60)
    writeFileSync(path, bytes)
    expect(await refusedBy(path)).toMatchObject({
      code: 'STORE_SCHEMA',
      message: `${path}: made by a newer steadymail (schema 99, this version knows ${known}): upgrade it`,
    })
  })

  it('in a folder that is not there', async () => {
    expect(await refusedBy('/nowhere/at/all.db')).toMatchObject({
      code: 'STORE_FAILED',
      message: '/nowhere/at/all.db: its folder cannot be read',
    })
  })
})

it('a closed mailer refuses every verb', async () => {
  const clock = manualClock()
  const mailer = wrapTransport('smtp://127.0.0.1:1', { store: memoryStore(), clock })
  const ticket = await mailer.sendWithRetry(good, { notBefore: clock.now() + 60_000 })
  await clock.runUntil(mailer.close({ timeout: 0 }))
  const verbs: Record<string, () => unknown> = {
    sendWithRetry: () => mailer.sendWithRetry(good),
    start: () => mailer.start(),
    list: () => mailer.list(),
    lanes: () => mailer.lanes(),
    status: () => mailer.status(ticket.id),
    explain: () => mailer.explain(ticket.id),
    cancel: () => mailer.cancel(ticket.id),
    idle: () => mailer.idle(),
    hold: () => mailer.hold('one.test'),
    settled: () => ticket.settled(),
  }
  for (const [verb, call] of Object.entries(verbs)) {
    const error = await refusal(call)
    expect([verb, error.code, error.message]).toEqual([verb, 'CLOSED', 'the mailer is closed'])
  }
})

it('hostile replies are capped, and shown without control characters', async () => {
  const hostile = '\u001b]0;owned\u0007\u0000'
  const w = await world({
    smtp: { script: { on: 'rcpt', times: 1, answer: `450 4.2.1 ${hostile}${'slow '.repeat(20_000)}` } },
  })
  const ticket = await w.send('a@one.test')
  await w.rest()
  const [recipient] = (await ticket.status())?.recipients ?? []
  const text = recipient?.reply?.text ?? ''
  expect(text.startsWith('450 4.2.1 ')).toBe(true)
  expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/)
  expect(text.length).toBeLessThanOrEqual(4_096)
  expect((await w.mailer.explain(ticket.id))?.[0]?.sentence.length).toBeLessThan(500)
  expect((await w.run(ticket.settled())).status).toBe('accepted')
})
