import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { SteadymailError } from '../src/core/error.ts'
import { envelopeOf, type Frozen, freeze } from '../src/freeze.ts'
import { openTarget } from '../src/transporter.ts'
import { MAJORS, type Nodemailer, withServer } from './nodemailers.ts'

let cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const one of cleanUp.reverse()) await one()
  cleanUp = []
})

const LIMITS = { maxMessageBytes: 1_000_000 }
const MAIL = { from: 'Me <me@here.test>', to: 'ann@one.test', subject: 'Hi', text: 'Hello' }

function text({ bytes }: Frozen): string {
  return Buffer.from(bytes).toString('utf8')
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    return SteadymailError.is(error) ? `${error.code} ${error.message}` : `not ours: ${error}`
  }
  return 'accepted'
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'freeze-'))
  cleanUp.push(() => rm(path, { recursive: true }))
  return path
}

const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 1024,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const DKIM = { domainName: 'here.test', keySelector: 's1', privateKey }

describe.each(MAJORS)('nodemailer $major', ({ nodemailer, major }) => {
  const wrap = (options: object = {}, defaults?: object) =>
    openTarget(nodemailer.createTransport({ host: 'mail.test', ...options }, defaults))

  test('a mail is built as nodemailer itself would have sent it', async () => {
    const mails = [
      MAIL,
      {
        ...MAIL,
        text: 'Grüße',
        html: '<p>Grüße</p>',
        priority: 'high',
        list: { unsubscribe: 'https://x.test' },
      },
      {
        ...MAIL,
        attachments: [
          { filename: 'ä.bin', content: Buffer.alloc(5000, 7) },
          { content: 'x', cid: 'c' },
        ],
        html: '<img src="cid:c">',
      },
      {
        ...MAIL,
        text: undefined,
        html: '<img src="data:image/png;base64,iVBORw0KGgo=">',
        attachDataUrls: true,
      },
      { ...MAIL, text: '.\n..\n.dot\rbare', icalEvent: { content: 'BEGIN:VCALENDAR' } },
    ]
    await withServer({}, async (server) => {
      const transporter = nodemailer.createTransport({ host: server.host, port: server.port })
      for (const mail of mails) {
        const fixed = { ...mail, date: new Date(0), messageId: '<fixed@here.test>' }
        const { bytes, to, from } = await freeze(openTarget(transporter), fixed, LIMITS)
        await transporter.sendMail({
          ...fixed,
          attachments: 'attachments' in mail ? structuredClone(mail.attachments) : undefined,
        })
        const sent = server.messages.at(-1)
        const plain = (message: string) =>
          message
            .replace(/\r\n|\r|\n/g, '\r\n')
            .replace(/--_NmP-[0-9a-f]+/g, '--_NmP')
            .replace(/[0-9a-f]{20}@localhost/g, 'cid@localhost')
        expect(plain(Buffer.from(bytes).toString())).toBe(plain(sent?.text ?? ''))
        expect({ from, to }).toEqual({ from: sent?.from, to: sent?.to })
      }
    })
  })

  test('Message-ID, Date and From domain are fixed, and no Bcc is in the bytes', async () => {
    const frozen = await freeze(wrap(), { ...MAIL, cc: 'bob@two.test', bcc: ['cid@three.test'] }, LIMITS)
    expect(frozen.to).toEqual(['ann@one.test', 'bob@two.test', 'cid@three.test'])
    expect(frozen.from).toBe('me@here.test')
    expect(frozen.fromDomain).toBe('here.test')
    expect(frozen.messageId).toMatch(/^<[^<>@]+@here\.test>$/)
    expect(text(frozen)).toContain(`Message-ID: ${frozen.messageId}\r\n`)
    expect(text(frozen)).toMatch(/^Date: .+\+0000\r$/m)
    expect(text(frozen)).not.toMatch(/bcc|three\.test/i)
  })

  test('defaults of the transporter apply', async () => {
    const target = wrap(
      {},
      { from: 'default@here.test', bcc: 'archive@here.test', headers: { 'X-App': 'shop' } },
    )
    const frozen = await freeze(target, { ...MAIL, from: undefined }, LIMITS)
    expect(frozen.to).toEqual(['ann@one.test', 'archive@here.test'])
    expect(frozen.from).toBe('')
    expect(text(frozen)).toContain('X-App: shop')
    const absent = { to: 'ann@one.test', text: 'x' }
    expect((await freeze(target, absent, LIMITS)).from).toBe('default@here.test')
  })

  test('defaults also reach a raw mail', async () => {
    const target = wrap({}, { envelope: { from: 'bounce@here.test', to: 'list@one.test' } })
    const frozen = await freeze(target, { raw: 'Subject: x\r\n\r\ny' }, LIMITS)
    expect(frozen).toMatchObject({ from: 'bounce@here.test', to: ['list@one.test'] })
  })

  test('defaults for headers leave a raw mail alone, other defaults do not', async () => {
    const raw = 'Message-ID: <r@here.test>\r\nDate: x\r\n\r\ny\r\n'
    const mail = { raw, envelope: { from: 'me@here.test', to: 'ann@one.test' } }
    const plain = await freeze(wrap({}, { from: 'no@here.test', bcc: 'no@one.test' }), mail, LIMITS)
    expect(plain).toMatchObject({ from: 'me@here.test', to: ['ann@one.test'], wire: {} })
    expect(text(plain)).toBe(raw)
    const dsn = { notify: 'failure' }
    const unix = await freeze(wrap({}, { newline: 'unix', dsn }), mail, LIMITS)
    expect(text(unix)).toBe(raw.replaceAll('\r', ''))
    expect(unix.wire).toEqual({ dsn })
  })

  test('compile and stream plugins run once, also those added later', async () => {
    const transporter = nodemailer.createTransport({ host: 'mail.test' })
    const target = openTarget(transporter)
    await freeze(target, MAIL, LIMITS)
    let runs = 0
    transporter.use('compile', (mail: { data: { text: string } }, done) => {
      runs++
      mail.data.text = `${mail.data.text}, ${'compiled'}`
      done()
    })
    transporter.use('stream', (mail: { message: { transform(t: () => Transform): void } }, done) => {
      const upper = () =>
        new Transform({
          transform: (chunk, _, next) => next(null, chunk.toString().replace('compiled', 'streamed')),
        })
      mail.message.transform(upper)
      done()
    })
    const frozen = await freeze(target, MAIL, LIMITS)
    expect(text(frozen)).toContain('Hello, streamed')
    expect(runs).toBe(1)
    expect(MAIL.text).toBe('Hello')
    const raw = await freeze(
      target,
      { raw: 'Subject: compiled\r\n\r\n', envelope: { from: 'a@b.test', to: 'c@d.test' } },
      LIMITS,
    )
    expect(text(raw)).toContain('Subject: streamed')
  })

  test('the error of a plugin is told', async () => {
    const transporter = nodemailer.createTransport({ host: 'mail.test' })
    transporter.use('compile', (_mail, done) => done(new Error('template missing')))
    expect(await refusal(freeze(openTarget(transporter), MAIL, LIMITS))).toBe(
      'BAD_MESSAGE mail: the message could not be built: template missing',
    )
  })

  test('DKIM of the transporter and of the mail signs once', async () => {
    const count = (frozen: Frozen) => text(frozen).match(/^DKIM-Signature:/gm)?.length
    expect(count(await freeze(wrap({ dkim: DKIM }), MAIL, LIMITS))).toBe(1)
    expect(count(await freeze(wrap(), { ...MAIL, dkim: DKIM }, LIMITS))).toBe(1)
    const raw = {
      raw: `From: me@here.test\r\nMessage-ID: <r@here.test>\r\nDate: ${new Date(0).toUTCString()}\r\n\r\nx`,
      envelope: { from: 'me@here.test', to: 'ann@one.test' },
    }
    const signed = await freeze(wrap({ dkim: DKIM }), raw, LIMITS)
    expect(count(signed)).toBe(1)
    expect(signed.messageId).toBe('<r@here.test>')
  })

  test('each mail has a boundary of its own, or the one it was given', async () => {
    const target = wrap()
    const boundary = async (more: object = {}) => {
      const frozen = await freeze(target, { ...MAIL, html: '<p>Hello</p>', ...more }, LIMITS)
      const [, boundary] =
        /^Content-Type: multipart\/alternative;\s+boundary="(.*)"/m.exec(text(frozen)) ?? []
      expect(text(frozen).split(`--${boundary}\r\n`)).toHaveLength(3)
      return boundary
    }
    const drawn = await Promise.all(Array.from({ length: 300 }, () => boundary({ headers: { 'X-A': 'b' } })))
    drawn.push(await boundary())
    expect(new Set(drawn)).toHaveLength(301)
    for (const one of drawn) expect(one).toMatch(/^--_NmP-[0-9a-f]{16}-Part_1$/)
    expect(await boundary({ baseBoundary: 'mine' })).toBe('--_NmP-mine-Part_1')
  })

  test('attachments from Buffer, stream, path and URL are read once, at freezing', async () => {
    const path = join(await folder(), 'a.txt')
    await writeFile(path, 'from a file')
    const http = createServer((_request, response) => response.end('from a URL'))
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    cleanUp.push(() => http.close())
    const href = `http://127.0.0.1:${(http.address() as AddressInfo).port}/a.txt`
    const frozen = await freeze(
      wrap(),
      {
        ...MAIL,
        text: Readable.from(['from ', 'a text stream']),
        attachments: [
          { content: Buffer.from('from a Buffer') },
          { content: Readable.from([Buffer.from('from a stream')]) },
          { path },
          { href },
        ],
      },
      LIMITS,
    )
    for (const source of ['Buffer', 'stream', 'file', 'URL']) {
      expect(text(frozen)).toContain(Buffer.from(`from a ${source}`).toString('base64'))
    }
    expect(text(frozen)).toContain('a text stream')
  })

  // as Node's own errors and buffers are to what Jest runs
  test('errors and bytes of another realm are what they are', async () => {
    const gone = runInNewContext(`Object.assign(new Error('ENOENT: gone'), { code: 'ENOENT' })`)
    const content = new Readable({ read: () => content.destroy(gone) })
    expect(await refusal(freeze(wrap(), { ...MAIL, attachments: [{ content }] }, LIMITS))).toBe(
      'BAD_MESSAGE mail.attachments: a file, URL or stream could not be read: ENOENT: gone',
    )
    const raw = runInNewContext(`Uint8Array.from('From: me@here.test\\r\\n\\r\\nHi', (c) => c.charCodeAt(0))`)
    const envelope = { from: 'me@here.test', to: 'ann@one.test' }
    expect(text(await freeze(wrap(), { raw, envelope }, LIMITS))).toMatch(/^From: me@here\.test\r\n\r\nHi$/m)
  })

  test('an attachment that cannot be read is refused, and so is one that may not be', async () => {
    const missing = { ...MAIL, attachments: [{ path: '/no/such/file' }] }
    expect(await refusal(freeze(wrap(), missing, LIMITS))).toMatch(
      /^BAD_MESSAGE mail\.attachments: a file, URL or stream could not be read: ENOENT/,
    )
    const file = { ...MAIL, attachments: [{ path: '/etc/hostname' }] }
    expect(await refusal(freeze(wrap({ disableFileAccess: true }), file, LIMITS))).toMatch(
      /^BAD_MESSAGE mail\.attachments: .*File access rejected/,
    )
    const url = { ...MAIL, raw: { href: 'http://127.0.0.1:1/' } }
    expect(await refusal(freeze(wrap({ disableUrlAccess: true }), url, LIMITS))).toBe(
      "BAD_MESSAGE mail.raw: URL access rejected for 'http://127.0.0.1:1/' (disableUrlAccess)",
    )
    const broken = new Readable({ read() {} })
    const failing = freeze(wrap(), { ...MAIL, attachments: [{ content: broken }] }, LIMITS)
    broken.destroy(new Error('disk on fire'))
    expect(await refusal(failing)).toMatch(/^BAD_MESSAGE mail.*: disk on fire/)
  })

  test('addresses as people write them', async () => {
    const to = [
      'Ann <ann@ONE.test.>',
      { name: 'Bob', address: 'bob@münchen.de' },
      'дима@почта.рф',
      'lit@[127.0.0.1]',
      '"odd one"@two.test',
      'Group: g1@three.test, g2@three.test;',
    ]
    const frozen = await freeze(wrap(), { ...MAIL, to }, LIMITS)
    expect(frozen.to).toEqual([
      'ann@one.test',
      'bob@xn--mnchen-3ya.de',
      major === 7 ? 'дима@xn--80a1acny.xn--p1ai' : 'дима@почта.рф',
      'lit@[127.0.0.1]',
      '"odd one"@two.test',
      'g1@three.test',
      'g2@three.test',
    ])
    expect(await envelopeOf(wrap(), { ...MAIL, to })).toEqual({ from: 'me@here.test', to: frozen.to })
  })

  test('one mailbox gets one copy, however often and however it is written', async () => {
    const mail = { ...MAIL, to: 'ann@one.test, Ann <ann@ONE.TEST>', cc: 'ANN@one.test', bcc: 'ann@one.test.' }
    expect((await freeze(wrap(), mail, LIMITS)).to).toEqual(['ann@one.test', 'ANN@one.test'])
    const raw = { raw: 'x: y\r\n\r\n', envelope: { from: 'a@b.test', to: ['c@D.test', 'c@d.test'] } }
    expect((await freeze(wrap(), raw, LIMITS)).to).toEqual(['c@d.test'])
  })

  test('an envelope given by the user decides, with its further fields kept', async () => {
    const envelope = {
      from: 'bounce+1@here.test',
      to: 'real@one.test',
      cc: 'c@one.test',
      size: 99,
      use8BitMime: true,
    }
    const frozen = await freeze(wrap(), { ...MAIL, envelope }, LIMITS)
    expect(frozen).toMatchObject({
      from: 'bounce+1@here.test',
      to: ['real@one.test', 'c@one.test'],
      fromDomain: 'here.test',
      wire: { envelope: { size: 99, use8BitMime: true } },
    })
    const dsn = { id: 'x', return: 'headers', notify: 'failure' }
    const wired = await freeze(wrap(), { ...MAIL, dsn, requireTLSExtensionEnabled: true }, LIMITS)
    expect(wired.wire).toEqual({ dsn, requireTLSExtensionEnabled: true })
  })

  test('bad recipients are refused by name', async () => {
    const to = (value: unknown) => refusal(freeze(wrap(), { ...MAIL, to: value }, LIMITS))
    expect(await to(undefined)).toBe('BAD_MESSAGE mail.to: expected at least one recipient, got none')
    expect(await to('undisclosed-recipients:;')).toBe(
      'BAD_MESSAGE mail.to: expected at least one recipient, got none',
    )
    expect(await to(['ann@one.test', 'nobody'])).toBe(
      "BAD_MESSAGE mail.to[1]: expected an address with a domain, as 'name@example.com', got 'nobody'",
    )
    expect(await to('ann@one.test\r\nBcc: eve@evil.test')).toBe(
      "BAD_MESSAGE mail.to: expected an address without CR, LF or NUL, got 'ann@one.test\\x0d\\x0aBcc: eve@evil.test'",
    )
    expect(await to({ address: 'a\0b@one.test' })).toContain('without CR, LF or NUL')
    expect(await to('ann@one.test,\n  bob@one.test')).toBe('accepted')
  })

  test('a mail with its own login is refused', async () => {
    const auth = { user: 'u', pass: 'very-secret' }
    const said = await refusal(freeze(wrap(), { ...MAIL, auth }, LIMITS))
    expect(said).toBe(
      'BAD_MESSAGE mail.auth: expected no per-message login, because credentials are not stored; set auth on the transporter',
    )
  })

  test('a mail that is too large is refused without reading all of it', async () => {
    const limits = { maxMessageBytes: 100_000 }
    let read = 0
    const endless = Readable.from(
      (function* () {
        for (;;) {
          read++
          yield Buffer.alloc(10_000)
        }
      })(),
    )
    const said = await refusal(freeze(wrap(), { ...MAIL, attachments: [{ content: endless }] }, limits))
    expect(said).toBe('BAD_MESSAGE mail: expected at most 100000 bytes (maxMessageBytes), got more than that')
    expect(read).toBeLessThan(100)
    const raw = { raw: Buffer.alloc(100_001, 65), envelope: { from: 'a@b.test', to: 'c@d.test' } }
    expect(await refusal(freeze(wrap(), raw, limits))).toMatch(
      /expected at most 100000 bytes .*, got 100\d\d\d$/,
    )
  })
})

describe('a raw mail', () => {
  const { nodemailer } = MAJORS.at(-1) as { nodemailer: Nodemailer }
  const target = openTarget(nodemailer.createTransport({ host: 'mail.test' }))
  const envelope = { from: 'me@here.test', to: ['ann@one.test'] }
  const RAW =
    'From: "Ann <x@evil.test>" <Real@Author.TEST>\r\nMessage-ID:\r\n <raw-1@author.test>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nBcc: hidden@one.test\r\n\r\nBody\n.dot\r\n'

  test('goes out byte for byte, a Bcc header included', async () => {
    for (const raw of [RAW, Buffer.from(RAW), new Uint8Array(Buffer.from(RAW))]) {
      const frozen = await freeze(target, { raw, envelope }, LIMITS)
      expect(text(frozen)).toBe(RAW)
      expect(frozen).toMatchObject({
        from: 'me@here.test',
        to: ['ann@one.test'],
        messageId: '<raw-1@author.test>',
        fromDomain: 'author.test',
        wire: {},
      })
    }
  })

  test('does not change with the caller’s buffer', async () => {
    const raw = Buffer.from(RAW)
    const frozen = await freeze(target, { raw, envelope }, LIMITS)
    raw.fill(0)
    expect(text(frozen)).toBe(RAW)
  })

  test('gets the Message-ID and Date that it lacks, once, and keeps those it has', async () => {
    const bare = await freeze(target, { raw: 'Subject: x\n\nBody', envelope }, LIMITS)
    expect(text(bare)).toBe(
      `Message-ID: ${bare.messageId}\r\nDate: ${/^Date: (.+)\r$/m.exec(text(bare))?.[1]}\r\nSubject: x\n\nBody`,
    )
    expect(bare.messageId).toMatch(/^<.+@here\.test>$/)
    const dated = await freeze(
      target,
      { raw: 'Date: x\r\nmessage-id: <y@z>\r\n\r\nDate: no', envelope },
      LIMITS,
    )
    expect(text(dated)).toBe('Date: x\r\nmessage-id: <y@z>\r\n\r\nDate: no')
    expect(dated.messageId).toBe('<y@z>')
    expect(dated.fromDomain).toBe('here.test')
  })

  test('that is signed already is left alone, and still has an id of its own in the outbox', async () => {
    const raw = 'DKIM-Signature: v=1; h=from\r\nFrom: a@b.test\r\n\r\nBody'
    const frozen = await freeze(target, { raw, envelope }, LIMITS)
    expect(text(frozen)).toBe(raw)
    expect(frozen.messageId).toMatch(/^<.+@here\.test>$/)
  })

  test('from a stream or a path is read at freezing', async () => {
    const path = join(await folder(), 'mail.eml')
    await writeFile(path, RAW)
    for (const raw of [Readable.from([RAW]), { path }]) {
      expect(text(await freeze(target, { raw, envelope }, LIMITS))).toBe(RAW)
    }
  })

  test('takes its envelope from the mail’s fields when there is no other, as nodemailer does', async () => {
    const frozen = await freeze(
      target,
      { raw: RAW, from: 'Me <me@here.test>', to: ['Ann <ann@one.test>', 'bob@two.test'] },
      LIMITS,
    )
    expect(frozen).toMatchObject({ from: 'me@here.test', to: ['ann@one.test', 'bob@two.test'] })
    expect(await refusal(freeze(target, { raw: RAW }, LIMITS))).toContain('expected at least one recipient')
  })

  test('has the envelope that nodemailer would give it, on the short path as on the long one', async () => {
    const transporter = nodemailer.createTransport({ host: 'mail.test' })
    transporter.use('compile', (_mail, done) => done())
    const long = openTarget(transporter)
    const envelopes = [
      { from: 'Me@HERE.test', to: 'ann@ONE.test' },
      { from: '', to: ['ann@one.test'] },
      {
        from: 'Me <me@here.test>',
        to: ['A <a@one.test>', 'b.c+d@two-three.test'],
        cc: 'x@y.test',
        bcc: ['z@y.test'],
      },
      { to: 'a@b.test, c@d.test' },
      { from: { address: 'me@here.test' }, to: [{ address: 'a@b.test', name: 'A' }] },
      { from: 'me@here.test', to: 'a..b@c.test' },
      { from: 'me@here.test', to: 'a@münchen.de', size: 5 },
    ]
    for (const given of envelopes) {
      const mail = { raw: RAW, envelope: given }
      const { from, to, wire } = await freeze(target, mail, LIMITS)
      expect({ from, to, wire }).toMatchObject(await envelopeOf(long, mail))
      const whole = await freeze(long, mail, LIMITS)
      expect({ from, to, wire }).toEqual({ from: whole.from, to: whole.to, wire: whole.wire })
    }
  })
})

describe('without a transporter of nodemailer', () => {
  test.each([
    ['a mock', { sendMail: async () => ({}) }],
    ['a plugin', { name: 'p', version: '1', send() {} }],
  ])('%s: mails are built by nodemailer all the same', async (_name, object) => {
    const frozen = await freeze(openTarget(object), { ...MAIL, bcc: 'b@two.test' }, LIMITS)
    expect(frozen.to).toEqual(['ann@one.test', 'b@two.test'])
    expect(text(frozen)).toContain('Subject: Hi')
    expect(text(frozen)).not.toContain('two.test')
  })

  test.each([[undefined], ['a string'], [[]]])('%j is no mail', async (mail) => {
    const target = openTarget({ sendMail: async () => ({}) })
    expect(await refusal(freeze(target, mail, LIMITS))).toContain(
      'BAD_MESSAGE mail: expected an object as nodemailer’s sendMail takes, got'.replace('’', "'"),
    )
  })
})
