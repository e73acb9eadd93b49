// A map that forgets: each value at its moment, the oldest when there are too many.

export class Cache<V> {
  readonly #max: number
  readonly #kept = new Map<string, { readonly value: V; readonly until: number }>()

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#kept.size
  }

  get(key: string, now: number): V | undefined {
    const kept = this.#kept.get(key)
    if (!kept) return undefined
    if (kept.until > now) return kept.value
    this.#kept.delete(key)
    return undefined
  }

  set(key: string, value: V, until: number): void {
    // the newest last, whatever was there before
    this.#kept.delete(key)
    this.#kept.set(key, { value, until })
    if (this.#kept.size <= this.#max) return
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest)
      return
    }
  }

  delete(key: string): void {
    this.#kept.delete(key)
  }

  *entries(): Generator<[string, V]> {
    for (const [key, { value }] of this.#kept) yield [key, value]
  }

  /** Epoch ms; 0 for what is not there. */
  expiryOf(key: string): number {
    return this.#kept.get(key)?.until ?? 0
  }
}
