// The octets of SMTP as a server meets them: a body that ends in any segment, replies of several lines.
// Not here: who says what when (session.ts).

const END = Buffer.from('\r\n.\r\n')

/** Takes a message's body, segment by segment, up to its final dot (RFC 5321 §4.5.2). */
export class BodyReader {
  /** Octets so far, the final dot included. */
  size = 0
  private readonly keep: boolean
  private readonly pieces: Buffer[] = []
  /** The last octets, in which the final dot may begin; the body stands on a line of its own. */
  private tail: Buffer = END.subarray(0, 2)

  /** @param keep whether the octets are wanted afterwards */
  constructor(keep: boolean) {
    this.keep = keep
  }

  /** How much of the segment belongs to the body, and whether it ends there. */
  take(segment: Buffer): { readonly taken: number; readonly ended: boolean } {
    const end = this.endIn(segment)
    const piece = end < 0 ? segment : segment.subarray(0, end)
    this.size += piece.length
    if (this.keep) this.pieces.push(Buffer.from(piece))
    // a copy, or four octets would keep the whole segment alive
    if (end < 0) this.tail = Buffer.from(Buffer.concat([this.tail, piece.subarray(-4)]).subarray(-4))
    return { taken: piece.length, ended: end >= 0 }
  }

  /** Index after the final dot, or -1. */
  private endIn(segment: Buffer): number {
    const seam = Buffer.concat([this.tail, segment.subarray(0, 4)])
    const across = seam.indexOf(END)
    if (across >= 0 && across < this.tail.length) return across + END.length - this.tail.length
    const inside = segment.indexOf(END)
    return inside < 0 ? -1 : inside + END.length
  }

  /** The message without the final dot and the dots that were doubled for the way; undefined unless kept. */
  message(): Buffer | undefined {
    if (!this.keep) return undefined
    const body = Buffer.concat(this.pieces)
    const bytes = body.subarray(0, body.length - 3)
    if (!bytes.includes('\r\n..') && !bytes.subarray(0, 2).equals(Buffer.from('..'))) return bytes
    return Buffer.from(bytes.toString('latin1').replace(/(^|\r\n)\.\./g, '$1.'), 'latin1')
  }
}

/** `'450-one\n450 two'`, and also `'450 one\ntwo'`, as reply lines. */
export function replyLines(text: string): string {
  if (!text.includes('\n')) return text
  const code = text.slice(0, 3)
  const lines = text.split(/\r?\n/).map((line) => (line.startsWith(code) ? line.slice(4) : line))
  return lines.map((line, i) => `${code}${i < lines.length - 1 ? '-' : ' '}${line}`).join('\r\n')
}
