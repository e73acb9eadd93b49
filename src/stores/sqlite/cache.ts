// The bytes of fresh mail, which is most often sent within moments of being stored: kept so that it is not
// read back from the file. Bounded; the oldest go first.

const LIMIT = 16 << 20

export class BytesCache {
  readonly #bytes = new Map<string, Uint8Array>()
  #size = 0

  put(ticket: string, bytes: Uint8Array): void {
    if (bytes.length > LIMIT) return
    this.drop(ticket)
    this.#bytes.set(ticket, bytes)
    this.#size += bytes.length
    for (const [oldest, { length }] of this.#bytes) {
      if (this.#size <= LIMIT) break
      this.#bytes.delete(oldest)
      this.#size -= length
    }
  }

  get(ticket: string): Uint8Array | undefined {
    return this.#bytes.get(ticket)
  }

  drop(ticket: string): void {
    const bytes = this.#bytes.get(ticket)
    if (!bytes) return
    this.#bytes.delete(ticket)
    this.#size -= bytes.length
  }

  clear(): void {
    this.#bytes.clear()
    this.#size = 0
  }
}
