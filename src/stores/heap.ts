// A binary min-heap: the earliest first. Not here: removal from the middle; owners skip what no longer holds.

export class Heap<T> {
  #nodes: T[] = []
  readonly #before: (a: T, b: T) => boolean

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#nodes.length
  }

  peek(): T | undefined {
    return this.#nodes[0]
  }

  push(value: T): void {
    const nodes = this.#nodes
    let at = nodes.length
    nodes.push(value)
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = nodes[up] as T // 0 ≤ up < at
      if (!this.#before(value, parent)) break
      nodes[at] = parent
      at = up
    }
    nodes[at] = value
  }

  pop(): T | undefined {
    const nodes = this.#nodes
    const first = nodes[0]
    const moved = nodes.pop()
    if (moved === undefined || nodes.length === 0) return first
    const half = nodes.length >> 1
    let at = 0
    while (at < half) {
      let down = 2 * at + 1
      if (down + 1 < nodes.length && this.#before(nodes[down + 1] as T, nodes[down] as T)) down++ // both in range
      const child = nodes[down] as T
      if (!this.#before(child, moved)) break
      nodes[at] = child
      at = down
    }
    nodes[at] = moved
    return first
  }

  /** Drops everything that fails the test; linear. */
  retain(keep: (value: T) => boolean): void {
    const kept = this.#nodes.filter(keep)
    this.#nodes = []
    for (const value of kept) this.push(value)
  }
}
