// What a scripted SMTP server saw and said, and who waits to see it.
// Not here: the protocol (session.ts).

import type { SmtpPhase } from './script.ts'

/** One line of the record. */
export interface SmtpLogLine {
  /** Epoch ms, by the server's clock. */
  readonly at: number
  /** The session's id. */
  readonly session: number
  /** `message`: one was accepted. `secure`: TLS was turned on. */
  readonly kind: 'open' | 'command' | 'reply' | 'message' | 'secure' | 'close'
  /** What the line belongs to; absent for `open`, `secure` and `close`. */
  readonly phase?: SmtpPhase
  /** The command or the whole reply, without line ends; secrets are masked. */
  readonly text: string
}

export class SmtpLog {
  readonly lines: SmtpLogLine[] = []
  private readonly record: boolean
  private waiting: {
    readonly predicate: (line: SmtpLogLine) => boolean
    readonly resolve: (line: SmtpLogLine) => void
    readonly reject: (error: Error) => void
  }[] = []

  constructor(record: boolean) {
    this.record = record
  }

  /** Whether anybody reads what is noted. */
  get isRead(): boolean {
    return this.record || this.waiting.length > 0
  }

  note(line: SmtpLogLine): void {
    if (this.record) this.lines.push(line)
    if (this.waiting.length === 0) return
    const matched = this.waiting.filter(({ predicate }) => predicate(line))
    if (matched.length === 0) return
    this.waiting = this.waiting.filter((one) => !matched.includes(one))
    for (const { resolve } of matched) resolve(line)
  }

  next(predicate: (line: SmtpLogLine) => boolean): Promise<SmtpLogLine> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ predicate, resolve, reject })
    })
  }

  end(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const { reject } of waiting) {
      reject(new Error('the SMTP server was closed before it saw what was waited for'))
    }
  }
}
