// Maps and sets whose entries come and go with every message.
//
// V8 makes room in a Map by moving to a new table, and the old table keeps its entries and points to the new one. Once
// a table has grown old it is only looked at by the major collector; until then it keeps alive the next table, with
// what was in that, which so grows old as well, and so on: in a long-lived Map nothing dies young any more. A quarter
// of what a message allocates was copied and promoted like that. Here the Map itself is made anew before it moves.

/** Deletions, and at least as many as there are entries left, after which it is made anew. */
const AFTER = 64

/** As a Map, but who deletes while iterating may be shown what is gone. */
export class FleetingMap<K, V> {
  #map = new Map<K, V>()
  #deleted = 0

  get size(): number {
    return this.#map.size
  }

  get(key: K): V | undefined {
    return this.#map.get(key)
  }

  has(key: K): boolean {
    return this.#map.has(key)
  }

  set(key: K, value: V): this {
    this.#map.set(key, value)
    return this
  }

  delete(key: K): boolean {
    const map = this.#map
    if (!map.delete(key)) return false
    if (++this.#deleted >= AFTER && this.#deleted >= map.size) {
      this.#map = copyOf(map)
      this.#deleted = 0
    }
    return true
  }

  clear(): void {
    this.#map = new Map()
    this.#deleted = 0
  }

  keys(): IterableIterator<K> {
    return this.#map.keys()
  }

  values(): IterableIterator<V> {
    return this.#map.values()
  }

  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.#map[Symbol.iterator]()
  }
}

/** An iterator would make two objects for every entry. */
function copyOf<K, V>(map: ReadonlyMap<K, V>): Map<K, V> {
  const copy = new Map<K, V>()
  map.forEach((value, key) => {
    copy.set(key, value)
  })
  return copy
}

/** As a Set, but who deletes while iterating may be shown what is gone. */
export class FleetingSet<T> {
  readonly #map = new FleetingMap<T, true>()

  get size(): number {
    return this.#map.size
  }

  has(value: T): boolean {
    return this.#map.has(value)
  }

  add(value: T): this {
    this.#map.set(value, true)
    return this
  }

  delete(value: T): boolean {
    return this.#map.delete(value)
  }

  clear(): void {
    this.#map.clear()
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#map.keys()
  }
}
