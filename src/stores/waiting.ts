// What waits in memory: a heap of due moments for each queue, and one of moments of expiry for all.
// The cost of a claim does not grow with what waits. Heaps are not searched: what no longer holds stays in them
// until it comes to the top, or until it is most of them and they are swept.

import type { AttemptRecord, Delivery } from '../core/delivery.ts'
import { FleetingMap } from '../core/fleeting.ts'
import { Heap } from '../core/heap.ts'
import type { Message } from '../core/message.ts'
import { isFinal } from './rules.ts'
import type { QueueHead, QueueName } from './store.ts'

export interface Queue extends QueueName {
  due: Heap<Held>
  waiting: number
}

/** One delivery and what the store knows of it. */
export interface Held {
  delivery: Delivery
  readonly mail: Mail
  /** Where it waits or last waited. */
  queue: Queue | undefined
  /** Of the claim it is under; 0 for none. */
  fence: number
  /** The moment for which `expiring` holds it. */
  expiring: number | undefined
  /** Records before the newest, which is in `delivery.last`. */
  earlier: AttemptRecord[] | undefined
  /** Its recipient was erased while it was claimed. */
  erase: boolean
}

export interface Mail {
  readonly message: Message
  readonly held: Held[]
  bytes: Uint8Array | undefined
  /** Deliveries that are not final. */
  open: number
  settledAt: number | undefined
  /** Once it has ended: whether any recipient failed. */
  outcome: 'accepted' | 'failed' | undefined
}

export class Waiting {
  /** By lane; a lane has few. */
  readonly #queues = new FleetingMap<string, Queue[]>()
  #expiring = new Heap<Held>()

  find({ lane, sender, priority }: QueueName): Queue | undefined {
    return this.#queues.get(lane)?.find((queue) => queue.sender === sender && queue.priority === priority)
  }

  add(held: Held): void {
    const { delivery } = held
    // the queue it knew may have been forgotten when it ran empty, or its lane have changed
    const queue = this.find(delivery) ?? this.#make(delivery)
    held.queue = queue
    queue.waiting++
    queue.due.push(delivery.dueAt, held)
    if (queue.due.size > 2 * queue.waiting + 32)
      queue.due = swept(queue.due, (at, one) => isDue(at, one, queue))
    if (held.expiring !== delivery.expiresAt) {
      held.expiring = delivery.expiresAt
      this.#expiring.push(delivery.expiresAt, held)
    }
  }

  #make({ lane, sender, priority }: QueueName): Queue {
    const queue: Queue = { lane, sender, priority, due: new Heap(), waiting: 0 }
    const beside = this.#queues.get(lane)
    if (beside) beside.push(queue)
    else this.#queues.set(lane, [queue])
    return queue
  }

  /** It waits no longer. An empty queue is forgotten, so that closed lanes cost nothing. */
  leave({ queue }: Held): void {
    if (!queue) return
    queue.waiting--
    if (queue.waiting > 0) return
    const others = this.#queues.get(queue.lane)?.filter((one) => one !== queue) ?? []
    if (others.length > 0) this.#queues.set(queue.lane, others)
    else this.#queues.delete(queue.lane)
  }

  nextDueAt(queue: Queue): number | undefined {
    for (let held = queue.due.peek(); held; held = queue.due.peek()) {
      if (isDue(queue.due.next, held, queue)) return queue.due.next
      queue.due.pop()
    }
    return undefined
  }

  /** The earliest that is due and not to be avoided; an avoided one when there is no other. */
  first(queue: Queue, now: number, avoid: readonly string[]): Held | undefined {
    const { due } = queue
    const passed: Held[] = []
    let found: Held | undefined
    for (let held = due.peek(); held && due.next <= now && !found; held = due.peek()) {
      if (!isDue(due.next, held, queue)) due.pop()
      else if (!avoid.includes(held.mail.message.id)) found = held
      else {
        passed.push(held)
        due.pop()
      }
    }
    for (const held of passed) due.push(held.delivery.dueAt, held)
    return found ?? passed[0]
  }

  /** Takes out those that wait past their time; one that waits again is added again. */
  expired(now: number, limit: number): Held[] {
    const found: Held[] = []
    while (found.length < limit && this.#expiring.next <= now) {
      const at = this.#expiring.next
      const held = this.#expiring.pop()
      if (held?.expiring !== at) continue
      held.expiring = undefined
      if (held.delivery.state === 'waiting') found.push(held)
    }
    return found
  }

  /** Sweeps the expiries when most of them are not of one of the `open` deliveries. */
  tidy(open: number): void {
    if (this.#expiring.size <= 2 * open + 1024) return
    this.#expiring = swept(this.#expiring, (at, held) => {
      if (held.expiring !== at) return false
      if (!isFinal(held.delivery.state)) return true
      held.expiring = undefined
      return false
    })
  }

  heads(): QueueHead[] {
    return [...this.#queues.values()].flat().flatMap((queue) => {
      const { lane, sender, priority, waiting } = queue
      const dueAt = this.nextDueAt(queue)
      return dueAt === undefined ? [] : [{ lane, sender, priority, dueAt, waiting }]
    })
  }
}

/** What is due of the same message in the same queue, the earliest first. */
export function besides(first: Held, now: number, limit: number): readonly Held[] {
  const { held: all } = first.mail
  if (all.length === 1 || limit === 1) return [first]
  return all
    .filter(
      ({ delivery, queue }) => delivery.state === 'waiting' && queue === first.queue && delivery.dueAt <= now,
    )
    .sort((a, b) => a.delivery.dueAt - b.delivery.dueAt || a.delivery.id - b.delivery.id)
    .slice(0, limit)
}

function isDue(at: number, held: Held, queue: Queue): boolean {
  return held.queue === queue && held.delivery.state === 'waiting' && held.delivery.dueAt === at
}

/** What still holds, in a heap of its own. */
function swept(heap: Heap<Held>, holds: (at: number, held: Held) => boolean): Heap<Held> {
  const kept = new Heap<Held>()
  for (let held = heap.peek(); held; held = heap.peek()) {
    if (holds(heap.next, held)) kept.push(heap.next, held)
    heap.pop()
  }
  return kept
}
