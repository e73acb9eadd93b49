// A binary min-heap of values by a number, oldest first among equals; the schedule of everything that waits.

/** Values in the order of their keys. */
export class Heap<T> {
  #keys: number[] = []
  #order: number[] = []
  #values: T[] = []
  #pushed = 0

  get size(): number {
    return this.#keys.length
  }

  /** The smallest key, `Infinity` when empty. */
  get next(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY
  }

  peek(): T | undefined {
    return this.#values[0]
  }

  push(key: number, value: T): void {
    const order = this.#pushed++
    let at = this.#keys.length
    this.#keys.push(key)
    this.#order.push(order)
    this.#values.push(value)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#before(key, order, parent)) break
      this.#move(parent, at)
      at = parent
    }
    this.#put(at, key, order, value)
  }

  pop(): T | undefined {
    const top = this.#values[0]
    const key = this.#keys.pop()
    const order = this.#order.pop()
    const value = this.#values.pop()
    const size = this.#keys.length
    if (size === 0 || key === undefined || order === undefined) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (
        child + 1 < size &&
        this.#before(this.#keys[child + 1] as number, this.#order[child + 1] as number, child)
      )
        child++
      if (this.#before(key, order, child)) break
      this.#move(child, at)
      at = child
    }
    this.#put(at, key, order, value as T)
    return top
  }

  #before(key: number, order: number, at: number): boolean {
    const other = this.#keys[at] as number
    return key < other || (key === other && order < (this.#order[at] as number))
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#keys[from] as number, this.#order[from] as number, this.#values[from] as T)
  }

  #put(at: number, key: number, order: number, value: T): void {
    this.#keys[at] = key
    this.#order[at] = order
    this.#values[at] = value
  }
}
