// The next few of each queue, by the index of what waits, so that a claim need not ask for them one by one.
// Bounded per queue and in all. True while nobody else changes the file; whoever finds that out clears them.

import type { QueueName } from '../store.ts'

/** Heads that are read at a time: few at first, since most of many queues are claimed from but once. */
const FIRST = 4
const MOST = 64
const QUEUES = 4096

/** Keys by lane, of its queue that was asked for last: a text that is put together anew is hashed anew. */
const keys = new Map<string, { readonly sender: string; readonly priority: number; readonly key: string }>()

/** What windows and others know a queue by. */
export function queueKey({ lane, sender, priority }: QueueName): string {
  const known = keys.get(lane)
  if (known && known.priority === priority && known.sender === sender) return known.key
  const key = `${priority}${sender} ${lane}` // domains: no space in the first
  if (keys.size >= QUEUES) keys.clear()
  keys.set(lane, { sender, priority, key })
  return key
}

export interface Head {
  readonly id: number
  readonly due_at: number
}

interface Window {
  /** By due_at, then id; those before `at` wait no longer. */
  readonly heads: Head[]
  at: number
  /** Whether the queue has no others. */
  complete: boolean
}

export class Windows {
  readonly #windows = new Map<string, Window>()
  readonly #lengths = new Map<string, number>()
  readonly #read: (queue: string, limit: number) => { readonly heads: Head[]; readonly complete: boolean }

  /** `read` gives the first `limit` or more of a queue. */
  constructor(
    read: (queue: string, limit: number) => { readonly heads: Head[]; readonly complete: boolean },
  ) {
    this.#read = read
  }

  /** The queue's earliest. */
  first(queue: string): Head | undefined {
    let window = this.#windows.get(queue)
    if (window) {
      const head = window.heads[window.at]
      if (head || window.complete) return head
    }
    const length = Math.min(MOST, (this.#lengths.get(queue) ?? FIRST / 4) * 4)
    window = { ...this.#read(queue, length), at: 0 }
    this.#makeRoom()
    this.#windows.set(queue, window)
    if (!window.complete) this.#lengths.set(queue, length)
    return window.heads[0]
  }

  /** One more waits. */
  put(queue: string, head: Head): void {
    const window = this.#windows.get(queue)
    if (!window) return
    const { heads } = window
    let place = heads.length
    while (place > window.at && isBefore(head, heads[place - 1] as Head)) place--
    if (place === heads.length && !window.complete) return // it comes with the next that are read
    heads.splice(place, 0, head)
    if (heads.length - window.at <= 2 * MOST) return
    heads.splice(0, window.at)
    window.at = 0
    heads.length = MOST
    window.complete = false
  }

  /** It waits no longer. */
  take(queue: string, id: number): void {
    const window = this.#windows.get(queue)
    if (!window) return
    const { heads } = window
    let place = window.at
    while (place < heads.length && heads[place]?.id !== id) place++
    if (place === heads.length) return
    if (place > window.at) {
      heads.splice(place, 1)
      return
    }
    // a queue that is sent as fast as it fills is never read anew: what was taken must go all the same
    if (++window.at < MOST) return
    heads.splice(0, window.at)
    window.at = 0
  }

  clear(): void {
    this.#windows.clear()
    this.#lengths.clear()
  }

  #makeRoom(): void {
    if (this.#windows.size < QUEUES) return
    for (const queue of this.#windows.keys()) {
      this.#windows.delete(queue)
      this.#lengths.delete(queue)
      if (this.#windows.size <= QUEUES / 2) return
    }
  }
}

export function isBefore(one: Head, other: Head): boolean {
  return one.due_at < other.due_at || (one.due_at === other.due_at && one.id < other.id)
}
