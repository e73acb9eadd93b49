// One message's way out: given up by its signal, however far it has come. One listener on the signal for the
// whole way, because adding and removing one costs as much as a tenth of sending a message.

export class Stop {
  /** What to end just now; nothing while nothing of this message is under way. */
  act: (() => void) | undefined
  #aborted = false

  get aborted(): boolean {
    return this.#aborted
  }

  abort(): void {
    this.#aborted = true
    this.act?.()
  }
}
