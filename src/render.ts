// nodemailer's MIME tree → bytes in one go, where all its content is at hand. nodemailer itself joins every
// message from a dozen streams, which costs more than all the rest of building it. The output is the same,
// byte for byte; what this cannot do the same way it leaves to nodemailer (undefined).

/** A MimeNode of nodemailer 7 to 10, as far as it is read. */
export interface MimeTree {
  readonly content?: unknown
  readonly contentType?: unknown
  readonly childNodes?: unknown
  readonly multipart?: unknown
  readonly boundary?: unknown
  readonly newline?: unknown
  readonly _raw?: unknown
  readonly _transforms?: unknown
  readonly _processFuncs?: unknown
  getTransferEncoding?(): unknown
  buildHeaders(): string
}

/** nodemailer wraps quoted-printable text in slices of this size. */
const MAX_QUOTED = 65_536

/** The whole message; undefined when some of it must be read from elsewhere, or passes through plugins or DKIM. */
export function render(root: MimeTree): Buffer | undefined {
  if (root.newline || !isEmpty(root._transforms) || !isEmpty(root._processFuncs)) return undefined
  const pieces: (string | Buffer)[] = []
  if (!renderNode(root, pieces)) return undefined
  const last = pieces.at(-1)
  if (last === undefined || last.length === 0) return undefined
  const end = typeof last === 'string' ? last.charCodeAt(last.length - 1) : last[last.length - 1]
  if (end === CR) pieces.push('\n')
  else if (end !== LF) pieces.push('\r\n')
  if (pieces.every((piece) => typeof piece === 'string')) return Buffer.from(pieces.join(''))
  return Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
}

function isEmpty(list: unknown): boolean {
  return Array.isArray(list) && list.length === 0
}

function renderNode(node: MimeTree, out: (string | Buffer)[]): boolean {
  const { content, childNodes } = node
  if (node._raw || !Array.isArray(childNodes) || typeof node.getTransferEncoding !== 'function') return false
  const encoding = node.getTransferEncoding()
  out.push(`${node.buildHeaders()}\r\n\r\n`)
  if (content && !renderContent(content, encoding, node, out)) return false
  if (!node.multipart) return true
  // only known once the headers are built
  const { boundary } = node
  for (const [i, child] of childNodes.entries()) {
    out.push(`${i > 0 ? '\r\n' : ''}--${boundary}\r\n`)
    if (!renderNode(child, out)) return false
  }
  out.push(`\r\n--${boundary}--\r\n`)
  return true
}

function renderContent(
  content: unknown,
  encoding: unknown,
  { contentType }: MimeTree,
  out: (string | Buffer)[],
): boolean {
  if (typeof content !== 'string' && !Buffer.isBuffer(content)) return false
  switch (encoding) {
    case 'base64':
      out.push(base64Lines(bytesOf(content)))
      return true
    case 'quoted-printable': {
      const bytes = bytesOf(content)
      if (bytes.length > MAX_QUOTED || !/^text\//i.test(String(contentType))) return false
      // majors differ on where they break a text that ends in blanks
      if (isBlank(bytes.at(-1) ?? 0)) return false
      out.push(quotedPrintable(bytes))
      return true
    }
    default:
      out.push(content)
      return true
  }
}

function bytesOf(content: string | Buffer): Buffer {
  return typeof content === 'string' ? Buffer.from(content) : content
}

/** Lines of 76 characters, without a break after the last, as nodemailer 8 to 10 write them. */
function base64Lines(bytes: Buffer): Buffer {
  const encoded = Buffer.from(bytes.toString('base64'), 'latin1')
  const breaks = Math.max(0, Math.ceil(encoded.length / LINE) - 1)
  const out = Buffer.allocUnsafe(encoded.length + breaks * 2)
  let to = 0
  for (let from = 0; from < encoded.length; from += LINE) {
    if (from > 0) {
      out[to++] = CR
      out[to++] = LF
    }
    to += encoded.copy(out, to, from, from + LINE)
  }
  return out
}

// ---- quoted-printable (RFC 2045 §6.7), with soft breaks where nodemailer puts them --------------------------

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const EQUALS = 0x3d
const LINE = 76
/** How far back a good place for a soft break is looked for. */
const MARGIN = 25

export function quotedPrintable(bytes: Buffer): string {
  return wrap(encode(bytes))
}

const HEX = Buffer.from('0123456789ABCDEF')

function encode(bytes: Buffer): string {
  const out = Buffer.allocUnsafe(bytes.length * 3)
  let to = 0
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i] ?? 0
    if (isLiteral(c) && !(isBlank(c) && endsLine(bytes, i + 1))) {
      out[to++] = c
      continue
    }
    out[to++] = EQUALS
    out[to++] = HEX[c >> 4] ?? 0
    out[to++] = HEX[c & 15] ?? 0
  }
  return out.toString('latin1', 0, to)
}

function isLiteral(c: number): boolean {
  return (c >= SPACE && c <= 0x7e && c !== EQUALS) || c === TAB || c === LF || c === CR
}

function isBlank(c: number): boolean {
  return c === SPACE || c === TAB
}

function endsLine(bytes: Buffer, next: number): boolean {
  return next === bytes.length || bytes[next] === LF || bytes[next] === CR
}

function wrap(text: string): string {
  if (text.length <= LINE) return text
  let out = ''
  let at = 0
  while (at < text.length) {
    const whole = hardBreak(text, at)
    if (whole > 0) {
      out += text.slice(at, at + whole)
      at += whole
      continue
    }
    const rest = text.length - at
    let length = softBreak(text, at, Math.min(LINE, rest))
    if (length < rest && text.charCodeAt(at + length - 1) !== LF) {
      if (length === LINE) length -= endsInEscape(text, at, length) ? 3 : 1
      out += `${text.slice(at, at + length)}=\r\n`
    } else {
      out += text.slice(at, at + length)
    }
    at += length
  }
  return out
}

/** Length of the line from `at` to a line break that fits; 0 when there is none to end it with. */
function hardBreak(text: string, at: number): number {
  const end = Math.min(at + LINE, text.length)
  let bare = -1
  let after = 0
  for (let i = at; i < end; i++) {
    const c = text.charCodeAt(i)
    if (c === LF) {
      if (after === CR) return i + 1 - at
      bare = i
    } else if (c === CR) {
      // nodemailer does not look for a bare LF before a CR
      if (i + 1 === end || text.charCodeAt(i + 1) !== LF) bare = -1
    }
    after = c
  }
  return bare >= Math.max(at, end - MARGIN) ? bare + 1 - at : 0
}

/** Length of the line from `at` when it has to be broken: after a space or a stop, else between characters. */
function softBreak(text: string, at: number, full: number): number {
  if (full > LINE - MARGIN) {
    for (let i = full - 1; i >= full - MARGIN; i--) {
      if (isStop(text.charCodeAt(at + i))) return i + 1
    }
  }
  let length = full
  // an escape that is cut goes to the next line whole
  if (text.charCodeAt(at + length - 1) === EQUALS) length -= 1
  else if (text.charCodeAt(at + length - 2) === EQUALS && isHex(text.charCodeAt(at + length - 1))) length -= 2
  else if (!endsInEscape(text, at, length)) return length
  // and so do the octets of one character
  while (length > 3 && length < text.length - at && endsInEscape(text, at, length)) {
    if (length <= 12 && length % 3 === 0 && allEscapes(text, at, length)) break
    const octet = Number.parseInt(text.slice(at + length - 2, at + length), 16)
    if (octet < 0x80) break
    length -= 3
    if (octet >= 0xc0) break
  }
  return length
}

function endsInEscape(text: string, at: number, length: number): boolean {
  return (
    length >= 3 &&
    text.charCodeAt(at + length - 3) === EQUALS &&
    isHex(text.charCodeAt(at + length - 2)) &&
    isHex(text.charCodeAt(at + length - 1))
  )
}

function allEscapes(text: string, at: number, length: number): boolean {
  for (let i = 0; i < length; i += 3) if (!endsInEscape(text, at + i, 3)) return false
  return true
}

function isStop(c: number): boolean {
  // space, tab, . , ! ?
  return c === SPACE || c === TAB || c === 0x2e || c === 0x2c || c === 0x21 || c === 0x3f
}

function isHex(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66)
}
