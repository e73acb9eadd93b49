import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type MimeTree, quotedPrintable, render } from '../src/render.ts'
import { MAJORS } from './nodemailers.ts'

interface Compiled {
  readonly message: MimeTree & { createReadStream(): AsyncIterable<Buffer> }
}

const capture = {
  name: 'c',
  version: '1',
  send: (mail: unknown, done: (e: null, m: unknown) => void) => done(null, mail),
}

/** Rendered by us and by nodemailer, from one tree. */
async function both(nodemailer: (typeof MAJORS)[number]['nodemailer'], mail: object) {
  const { message } = (await nodemailer.createTransport(capture).sendMail(mail)) as Compiled
  const ours = render(message)
  const chunks: Buffer[] = []
  for await (const chunk of message.createReadStream()) chunks.push(Buffer.from(chunk))
  return { ours: ours?.toString('latin1'), theirs: Buffer.concat(chunks).toString('latin1') }
}

const FIXED = { from: 'a@b.test', to: 'c@d.test', date: new Date(0), messageId: '<x@y>' }

// words, long words, escapes, all kinds of line breaks and blanks at line ends
const line = fc.array(
  fc.constantFrom(
    'word',
    'a.b,c!d?',
    'é',
    '€',
    '😀',
    '=',
    '=3D',
    ' ',
    '\t',
    'x'.repeat(40),
    '=='.repeat(20),
    'ü'.repeat(30),
  ),
  { maxLength: 12 },
)
const texts = fc
  .array(fc.tuple(line, fc.constantFrom('\r\n', '\n', '\n\n', '\r', ' \r\n', '')), { maxLength: 12 })
  .map((lines) => lines.map(([words, end]) => words.join('') + end).join(''))

test.each(MAJORS)(
  'any text and HTML is rendered as nodemailer $major renders it',
  async ({ nodemailer, major }) => {
    let left = 0
    const property = fc.asyncProperty(texts, texts, async (text, html) => {
      const { ours, theirs } = await both(nodemailer, { ...FIXED, text, html })
      const mended = (message: string) =>
        major === 7 && message.includes('base64') ? message.replace(/\s/g, '') : message
      if (ours === undefined) left++
      else expect(mended(ours)).toBe(mended(theirs))
    })
    await fc.assert(property, { numRuns: 300 })
    // those that end in blanks are nodemailer's
    expect(left).toBeLessThan(120)
  },
)

test.each(MAJORS)(
  'attachments are rendered as nodemailer $major renders them',
  async ({ nodemailer, major }) => {
    for (const size of [0, 1, 56, 57, 58, 114, 5000]) {
      const content = Buffer.alloc(size, 'öÿ\0')
      const mail = {
        ...FIXED,
        text: 'see below',
        html: '<img src="cid:1">',
        attachments: [
          { filename: 'a b.bin', content },
          { cid: '1', content: content.toString('base64'), encoding: 'base64' },
          { contentType: 'text/csv', filename: 'ü.csv', content: 'a;b\n'.repeat(size) },
          { contentType: 'message/rfc822', content: 'Subject: x\r\n\r\ny' },
          { raw: 'X-Raw: 1\r\n\r\nraw' },
        ].slice(0, size === 5000 ? 5 : 4),
      }
      const { ours, theirs } = await both(nodemailer, mail)
      // nodemailer 7 sets the breaks of base64 wrongly, up to lines of 80 characters
      const lines = (text?: string) => (major === 7 ? text?.replace(/\s/g, '') : text)
      expect(lines(ours)).toBe(size === 5000 ? undefined : lines(theirs))
    }
  },
)

test.each(MAJORS)('what must be read or transformed is left to nodemailer $major', async ({ nodemailer }) => {
  const left = [
    { raw: 'Subject: x\r\n\r\ny' },
    { text: { path: '/dev/null' } },
    { text: 'x', newline: 'unix' },
    { text: `${'plain words '.repeat(6000)}é` },
  ]
  for (const more of left) expect((await both(nodemailer, { ...FIXED, ...more })).ours).toBeUndefined()
})

test('quoted-printable lines are never longer than 76 characters and decode to what they were', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (octets) => {
      const encoded = quotedPrintable(Buffer.from(octets))
      for (const one of encoded.split('\n')) expect(one.replace(/\r$/, '').length).toBeLessThanOrEqual(76)
      const decoded = encoded
        .replace(/=\r\n/g, '')
        .replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
      expect(Buffer.from(decoded, 'latin1')).toEqual(Buffer.from(octets))
    }),
  )
})
