// When the journal is folded into the tables: a moment after a turn, and before anybody needs them. How it is
// done is in fold.ts.

import type { Clock, Timer } from '../../clock.ts'
import type { Commits, Transaction } from './commits.ts'
import type { Fresh } from './fresh.ts'
import { FOLD_AT, type Journal } from './journal.ts'
import type { Recent } from './recent.ts'

/** What a turn says is in the tables after so long, with what others said. */
const FOLD_MS = 250
/** So many times what is folded at once may wait for it, when the fold itself fails. */
const MOST = 4
/** A look takes some 50 µs; that others commit in each of so many is not to be expected. */
const READ_AGAIN = 8
/** Fresh mail that is brought to the tables in one go: some 12 ms. */
const SLICE = 250

export class Folding {
  readonly #commits: Commits
  readonly #journal: Journal
  readonly #fresh: Fresh
  readonly #recent: Recent
  readonly #clock: Clock
  #timer: Timer | undefined
  /** When it is due. */
  #at = 0
  #closed = false
  /** How many need the tables as they are: meanwhile new mail goes there too. */
  #needed = 0

  constructor(commits: Commits, journal: Journal, fresh: Fresh, recent: Recent, clock: Clock) {
    this.#commits = commits
    this.#journal = journal
    this.#fresh = fresh
    this.#recent = recent
    this.#clock = clock
  }

  /** Whether the tables have to have everything. */
  get needed(): boolean {
    return this.#needed > 0
  }

  /** Brings the tables up to what turns said. */
  async now(): Promise<void> {
    await this.#commits.write((tx) => this.#journal.fold(tx), false)
  }

  /** At once when there is enough to fold, soon when there is anything; fresh mail has its time. */
  later(): void {
    if (this.#closed) return
    const full = this.#journal.size >= FOLD_AT
    const after = full ? 0 : this.#journal.rows > 0 ? FOLD_MS : this.#fresh.overdueIn()
    if (after === undefined) return
    const at = this.#clock.monotonic() + after
    if (this.#timer && this.#at <= at) return
    this.#stop()
    this.#at = at
    this.#timer = this.#clock.after(after, () => {
      this.#stop()
      this.#inTime().catch(() => undefined) // the next turn sees to it
    })
    this.#timer.keep(false)
  }

  /** Of what is known by heart: another process may own it by now, and what it knows is not to be disturbed. */
  async #inTime(): Promise<void> {
    await this.#commits.write((tx) => {
      if (this.#journal.own) this.#journal.fold(tx)
    }, false)
    this.later()
  }

  /** For a turn: what it goes on from is what it remembers, or the tables are up to date. */
  before(tx: Transaction): void {
    if (!this.#journal.own || this.#journal.size >= MOST * FOLD_AT) this.#journal.fold(tx)
  }

  /** A change of what turns may have said: of the tables with all that there is; whoever remembers them is told. */
  async change<T>(
    body: (tx: Transaction) => T,
  ): Promise<{ readonly value: T; readonly durable: Promise<void> }> {
    const release = await this.need()
    return this.#commits.write((tx) => this.#changed(tx, body)).finally(release)
  }

  #changed<T>(tx: Transaction, body: (tx: Transaction) => T): T {
    this.#journal.fold(tx, { most: Number.POSITIVE_INFINITY })
    this.#recent.forget()
    const { pages } = tx
    const value = body(tx)
    if (tx.pages > pages) tx.ledger.changes++
    return value
  }

  /** Whether a turn can go on from what is remembered; else it needs the tables, to which the rest comes a part at a time. */
  knows(): boolean {
    return this.#commits.read(() => {
      this.#commits.look()
      return this.#journal.own || !this.#journal.any()
    })
  }

  /** Resolves when the tables have everything; they go on having it until the answer is called. */
  async need(): Promise<() => void> {
    this.#needed++
    const release = () => {
      this.#needed--
    }
    try {
      const any = this.#commits.read(() => {
        this.#commits.look()
        return this.#journal.any()
      })
      if (any) await this.#everything()
      return release
    } catch (error) {
      release()
      throw error
    }
  }

  async #everything(): Promise<void> {
    this.#stop()
    for (;;) {
      const { value } = await this.#commits.write((tx) => {
        this.#journal.fold(tx, { most: SLICE, hasty: !this.#journal.own })
        return this.#fresh.any()
      }, false)
      if (!value) return
      await new Promise<void>((resolve) => this.#clock.turn(resolve))
    }
  }

  /** For who reads the journal with the tables: again, when others have committed while `body` looked here and there. */
  complete<T>(body: () => T): T {
    for (let times = 0; ; times++) {
      const before = this.#commits.look()
      this.#journal.learn()
      const value = body()
      if (this.#commits.look() === before || times === READ_AGAIN) return value
    }
  }

  /** What is left is folded; where that fails, whoever opens the file next does it. */
  async close(): Promise<void> {
    this.#closed = true
    // who does not deliver has nothing there, and leaves who does alone
    if (this.#journal.own) await this.need().catch(() => undefined)
    this.#stop()
  }

  #stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
