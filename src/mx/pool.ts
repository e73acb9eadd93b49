// The open sessions, one group per MX host set, and who gets which next. Sockets are bounded overall and per
// set; where there is no room, messages wait in the order in which they came, and idle sessions elsewhere
// say goodbye.
// Not here: how a session comes about (connect.ts), or what is said on it (session.ts).

import type { Clock, Timer } from '../clock.ts'
import type { Reply } from '../core/reply.ts'
import type { Connector, Opened } from './connect.ts'
import type { MxRoute } from './resolver.ts'
import type { Session } from './session.ts'
import type { Stop } from './stop.ts'
import type { StsMode } from './sts.ts'
import { type TlsLevel, trusted } from './tls.ts'

export interface PoolSettings {
  readonly maxConnections: number
  readonly idleMs: number
}

/** What a message needs of its session. */
export interface Wish {
  readonly route: MxRoute
  readonly need: TlsLevel
  readonly sts: StsMode
  /** Sessions to this host set at a time. */
  readonly connections: number
  /** Addresses not to be asked again for this message. */
  readonly tried: Set<string>
  /** Only a session that no message has been on. */
  readonly fresh: boolean
  readonly stop: Stop | undefined
}

/** A session to send on, to be given back, or why there is none. */
export type Lease =
  | { readonly session: Session; readonly reused: boolean; readonly lines: readonly string[] }
  | { readonly session: undefined; readonly reply: Reply; readonly lines: readonly string[] }

interface Waiter {
  readonly wish: Wish
  readonly resolve: (lease: Lease) => void
}

interface Group {
  readonly key: string
  /** The most recently used last. */
  readonly idle: Session[]
  readonly waiting: Waiter[]
  /** Sessions and openings. */
  open: number
}

const ABORTED: Reply = { text: 'aborted before a connection was free', phase: 'unknown', errno: 'EABORT' }

/** Below this an idle session is taken at once: the event loop has looked at its socket just now. */
const SURELY_FRESH_MS = 20

export class Pool {
  readonly #settings: PoolSettings
  readonly #clock: Clock
  readonly #connector: Connector
  readonly #groups = new Map<string, Group>()
  readonly #groupOf = new Map<Session, Group>()
  /** All idle sessions, the longest idle first. */
  readonly #idle = new Set<Session>()
  /** Sessions that were asked to leave so that others get their sockets, and are not gone yet. */
  readonly #leaving = new Set<Session>()
  /** Groups where somebody waits, the longest served last. */
  readonly #queues = new Set<Group>()
  #open = 0
  #timer: Timer | undefined
  #closed = false

  constructor(settings: PoolSettings, clock: Clock, connector: Connector) {
    this.#settings = settings
    this.#clock = clock
    this.#connector = connector
  }

  /** Sockets open or being opened. */
  get open(): number {
    return this.#open
  }

  get groups(): number {
    return this.#groups.size
  }

  /** A session for one transaction. Resolves when there is one, or nobody of the route takes any. */
  lease(wish: Wish): Lease | Promise<Lease> {
    const group = this.#group(wish)
    const session = wish.fresh ? undefined : this.#takeIdle(group, wish)
    if (session) {
      if (this.#clock.monotonic() - session.idleSince <= SURELY_FRESH_MS) return leaseOf(session)
      return this.#lookTwice(session, wish)
    }
    return new Promise((resolve) => {
      group.waiting.push({ wish, resolve })
      this.#queues.add(group)
      this.#serve(group)
    })
  }

  /**
   * A goodbye may be waiting in its socket, unread. Sockets are looked at between two turns, but not between a
   * socket's own callback and the turn after it: the second turn is sure to have looked.
   */
  #lookTwice(session: Session, wish: Wish): Promise<Lease> {
    return new Promise((resolve) => {
      const decide = () => resolve(session.isOpen ? leaseOf(session) : this.lease(wish))
      this.#clock.turn(() => this.#clock.turn(decide))
    })
  }

  /** Gives a session back; `spent` when it is to carry no further message. */
  release(session: Session, spent: boolean): void {
    const group = this.#groupOf.get(session)
    if (!group || !session.isOpen) return
    if (spent || this.#closed) {
      session.quit()
      return
    }
    session.idleSince = this.#clock.monotonic()
    const next = group.waiting.findIndex(({ wish }) => !wish.fresh && suits(session, wish))
    const [waiter] = next < 0 ? [] : group.waiting.splice(next, 1)
    if (waiter) {
      waiter.resolve(leaseOf(session))
      return
    }
    group.idle.push(session)
    this.#idle.add(session)
    this.#timer ??= this.#sweepLater()
    if (this.#open >= this.#settings.maxConnections) this.#makeRoom()
  }

  /** Quits what is idle; what is busy quits when it is given back. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const session of this.#idle) session.quit()
    this.#idle.clear()
    for (const group of this.#groups.values()) group.idle.length = 0
  }

  // ---- groups ---------------------------------------------------------------------------------------------

  #group({ route, sts }: Wish): Group {
    // a policy of its own is a matter between us and that domain: its sessions are not shared
    const key = sts === 'none' ? route.key : `${route.key} for ${route.domain}`
    const known = this.#groups.get(key)
    if (known) return known
    const group: Group = { key, idle: [], waiting: [], open: 0 }
    this.#groups.set(key, group)
    return group
  }

  #takeIdle(group: Group, wish: Wish): Session | undefined {
    for (let i = group.idle.length - 1; i >= 0; i--) {
      const session = group.idle[i] as Session // in range
      if (session.isOpen && !suits(session, wish)) continue
      group.idle.splice(i, 1)
      this.#idle.delete(session)
      if (session.isOpen) return session
    }
    return undefined
  }

  /** Opens sessions for those who wait, as far as there is room. */
  #serve(group: Group): void {
    for (;;) {
      const [waiter] = group.waiting
      if (!waiter) {
        this.#queues.delete(group)
        return
      }
      if (waiter.wish.stop?.aborted) {
        group.waiting.shift()
        waiter.resolve({ session: undefined, reply: ABORTED, lines: [] })
        continue
      }
      if (group.open >= waiter.wish.connections) {
        // what is idle here does not suit whoever waits, or it would have been taken
        const [unsuited] = group.idle
        if (unsuited) this.#retire(unsuited)
        return
      }
      if (this.#open >= this.#settings.maxConnections) {
        this.#makeRoom()
        return
      }
      group.waiting.shift()
      group.open++
      this.#open++
      this.#openFor(group, waiter)
    }
  }

  async #openFor(group: Group, { wish, resolve }: Waiter): Promise<void> {
    const opened = await this.#try(wish)
    if (opened.session) this.#groupOf.set(opened.session, group)
    else this.#freed(group)
    resolve(opened.session ? { ...opened, reused: false } : opened)
  }

  async #try(wish: Wish): Promise<Opened> {
    let session: Session | undefined
    let gone = false
    try {
      const opened = await this.#connector.open({
        ...wish,
        onClosed: () => {
          if (session) this.#gone(session)
          else gone = true
        },
      })
      session = opened.session
      if (session && gone) this.#clock.turn(() => session && this.#gone(session))
      return opened
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      return { session: undefined, reply: { text, phase: 'unknown', errno: 'ECONNECTION' }, lines: [] }
    }
  }

  #gone(session: Session): void {
    const group = this.#groupOf.get(session)
    if (!group) return
    this.#groupOf.delete(session)
    this.#leaving.delete(session)
    if (this.#idle.delete(session)) group.idle.splice(group.idle.indexOf(session), 1)
    this.#freed(group)
  }

  /** A slot is free: first for its own group, then for whoever has waited longest. */
  #freed(group: Group): void {
    group.open--
    this.#open--
    this.#serve(group)
    if (group.open === 0 && group.waiting.length === 0) this.#groups.delete(group.key)
    for (const other of [...this.#queues]) {
      if (this.#open >= this.#settings.maxConnections) return
      // to the end of the line, so that no host set is served twice before another is once
      this.#queues.delete(other)
      this.#queues.add(other)
      this.#serve(other)
    }
  }

  /** The session that has been idle longest leaves, if more wait that could use its socket than are leaving. */
  #makeRoom(): void {
    const [oldest] = this.#idle
    if (!oldest) return
    let short = 1 + this.#leaving.size
    for (const { waiting, open } of this.#queues) {
      const [first] = waiting
      if (first) short -= Math.min(waiting.length, Math.max(0, first.wish.connections - open))
      if (short > 0) continue
      this.#leaving.add(oldest)
      this.#retire(oldest)
      return
    }
  }

  #retire(session: Session): void {
    const group = this.#groupOf.get(session)
    this.#idle.delete(session)
    const at = group?.idle.indexOf(session) ?? -1
    if (at >= 0) group?.idle.splice(at, 1)
    session.quit()
  }

  #sweepLater(): Timer {
    const [oldest] = this.#idle
    const since = oldest?.idleSince ?? this.#clock.monotonic()
    const timer = this.#clock.after(since + this.#settings.idleMs - this.#clock.monotonic(), () =>
      this.#sweep(),
    )
    timer.keep(false)
    return timer
  }

  #sweep(): void {
    const before = this.#clock.monotonic() - this.#settings.idleMs
    for (const session of this.#idle) {
      if (session.idleSince > before) break
      this.#retire(session)
    }
    this.#timer = this.#idle.size > 0 ? this.#sweepLater() : undefined
  }
}

function leaseOf(session: Session): Lease {
  return { session, reused: true, lines: session.opening }
}

function suits(session: Session, wish: Wish): boolean {
  return session.isOpen && trusted(session.tls, wish.need) && !wish.tried.has(session.address)
}
