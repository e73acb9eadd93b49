// Room on the disk: new mail is refused while there is still enough left to send what waits, since sending
// must write too. As Postfix's queue_minfree (postfix.org/postconf.5.html#queue_minfree).

import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '../../clock.ts'
import { SteadymailError } from '../../core/error.ts'

/** Asked of the file system this often at most; in between, what is added is subtracted. */
const LOOK_EVERY_MS = 100

export class DiskSpace {
  readonly #file: string
  readonly #minFree: number
  readonly #clock: Clock
  #left = 0
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(file: string, minFree: number, clock: Clock) {
    this.#file = file
    this.#minFree = minFree
    this.#clock = clock
  }

  /** Sets `size` bytes aside; the error when less than the reserve would be left. */
  take(size: number): SteadymailError | undefined {
    const now = this.#clock.monotonic()
    if (now - this.#lookedAt >= LOOK_EVERY_MS) {
      const { bavail, bsize } = statfsSync(dirname(this.#file))
      this.#left = bavail * bsize
      this.#lookedAt = now
    }
    if (this.#left - size < this.#minFree) {
      const mib = (bytes: number) => Math.max(0, Math.floor(bytes / 2 ** 20))
      return new SteadymailError(
        'STORE_FAILED',
        `${this.#file}: the disk is nearly full (${mib(this.#left)} MiB left, ${mib(this.#minFree)} are kept for sending)`,
      )
    }
    this.#left -= size
    return undefined
  }
}
