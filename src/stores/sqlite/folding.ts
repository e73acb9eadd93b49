// When the journal is folded into the tables: a moment after a turn, and before anybody needs them. How it is
// done is in fold.ts.

import type { Clock, Timer } from '../../clock.ts'
import type { Commits, Transaction } from './commits.ts'
import { FOLD_AT, type Journal } from './journal.ts'
import type { Recent } from './recent.ts'

/** What a turn says is in the tables after so long, with what others said. */
const FOLD_MS = 250
/** So many times what is folded at once may wait for it, when the fold itself fails. */
const MOST = 4

export class Folding {
  readonly #commits: Commits
  readonly #journal: Journal
  readonly #recent: Recent
  readonly #clock: Clock
  #timer: Timer | undefined
  #soon = false
  #closed = false

  constructor(commits: Commits, journal: Journal, recent: Recent, clock: Clock) {
    this.#commits = commits
    this.#journal = journal
    this.#recent = recent
    this.#clock = clock
  }

  /** Brings the tables up to what turns said. */
  async now(): Promise<void> {
    this.#stop()
    await this.#commits.write((tx) => this.#journal.fold(tx), false)
  }

  /** Soon, or at once when there is enough to fold. */
  later(): void {
    const full = this.#journal.size >= FOLD_AT
    if (this.#closed || this.#journal.rows === 0 || (this.#timer && !(full && !this.#soon))) return
    this.#timer?.cancel()
    this.#soon = full
    this.#timer = this.#clock.after(full ? 0 : FOLD_MS, () => {
      this.now().catch(() => undefined) // the next turn sees to it
    })
    this.#timer.keep(false)
  }

  /** For a turn: what it goes on from is what it remembers, or the tables are up to date. */
  before(tx: Transaction): void {
    if (!this.#journal.own || this.#journal.size >= MOST * FOLD_AT) this.#journal.fold(tx)
  }

  /** A change of what turns may have said: of the tables as they are; whoever remembers them is told. */
  change<T>(body: (tx: Transaction) => T): (tx: Transaction) => T {
    return (tx) => {
      this.#journal.fold(tx)
      this.#recent.forget()
      const { pages } = tx
      const value = body(tx)
      if (tx.pages > pages) tx.ledger.changes++
      return value
    }
  }

  /** For who reads the tables: resolves when they are up to date. */
  async upToDate(): Promise<void> {
    this.#commits.look()
    if (this.#journal.any()) await this.now()
  }

  /** For who reads the journal with them. */
  complete(): void {
    this.#commits.look()
    this.#journal.learn()
  }

  /** What is left is folded; where that fails, whoever opens the file next does it. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#journal.rows > 0) await this.now().catch(() => undefined)
    this.#stop()
  }

  #stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
