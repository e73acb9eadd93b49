// The store contract: what the delivery engine needs of durable memory, and no more.
// Every store passes the shipped `storeContract` suite. One mailer at a time delivers from a store
// (the owner lease); any number may add. A store decides nothing: verdicts, times and lanes come from above.

import type { AttemptRecord, Delivery, DeliveryState } from '../core/delivery.ts'
import type { Message, Priority } from '../core/message.ts'

/** A delivery about to be stored; the store gives it its id. */
export type NewDelivery = Omit<Delivery, 'id'>

/** A message to store, with its frozen bytes and one delivery per recipient. */
export interface NewMessage {
  readonly message: Message
  readonly bytes: Uint8Array
  readonly deliveries: readonly NewDelivery[]
}

/** `duplicate`: the key is known, with the same recipients. `conflict`: known, with others. */
export type Added =
  | { readonly kind: 'added'; readonly ids: readonly number[] }
  | { readonly kind: 'duplicate'; readonly ticket: string }
  | { readonly kind: 'conflict'; readonly ticket: string }

/** What may wait at most; both are checked in the transaction that adds. */
export interface Room {
  /** Open messages. */
  readonly messages: number
  /** Bytes of open messages. */
  readonly bytes: number
}

/** What one lane has waiting from one From domain at one priority: the unit in which claims are asked for. */
export interface QueueName {
  readonly lane: string
  readonly sender: string
  readonly priority: Priority
}

/** The earliest waiting delivery of a queue, and how many wait. */
export interface QueueHead extends QueueName {
  readonly dueAt: number
  readonly waiting: number
}

/** A wish for due deliveries of one queue. */
export interface ClaimRequest extends QueueName {
  /** Recipients at most; all of one message and one queue. */
  readonly limit: number
  /** Leave these tickets alone while the queue has others that are due. */
  readonly avoid?: readonly string[]
}

/** A lease on deliveries of one message: nobody else may try or change them until it is settled. */
export interface Claim {
  /** Grows with every claim; a settlement with an older one is stale. */
  readonly fence: number
  readonly message: Message
  /** As they were, with state `claimed`. */
  readonly deliveries: readonly Delivery[]
}

/** What became of one claimed delivery. */
export interface Settlement {
  readonly fence: number
  readonly delivery: Delivery
  /** Appended to its history; absent when nothing was said (a claim given back). */
  readonly record?: AttemptRecord
}

/** A lane's state as stored: opaque to the store. `undefined` removes it. */
export interface StoredLane {
  readonly key: string
  readonly state: string | undefined
}

/** Everything one turn of the engine writes; one transaction. */
export interface Turn {
  /** Fence of the owner lease; the turn fails with `OWNER_LOST` when it is no longer the newest. */
  readonly owner: number
  readonly now: number
  /** Claims made in this turn stand until then. */
  readonly until: number
  readonly settle: readonly Settlement[]
  readonly claims: readonly ClaimRequest[]
  /** Called inside the transaction with what was claimed; the lane states to save. Called once; must not throw. */
  readonly lanes: (claimed: readonly Claimed[]) => readonly StoredLane[]
  /** Whether somebody waits for `durable` before sending; otherwise it may come a little later, with others'. @default true */
  readonly urgent?: boolean
  /** Whether messages that end in this turn are kept for `outcomes()` until acknowledged. */
  readonly keepOutcomes: boolean
}

/** The answer to one claim request. */
export interface Claimed {
  /** Absent when nothing in the queue was due. */
  readonly claim?: Claim
  /** `dueAt` of the queue's next waiting delivery after this claim. */
  readonly nextDueAt?: number
  /** The claimed message's frozen bytes, where the store has them at hand; else `bytes()` is asked. */
  readonly bytes?: Uint8Array
}

/** What became of a turn. */
export interface TurnResult {
  /** One per request, in order. */
  readonly claims: readonly Claimed[]
  /** Indexes into `settle` whose claim no longer stood: they were not written. */
  readonly stale: readonly number[]
  /** Tickets whose last recipient ended in this turn. */
  readonly ended: readonly string[]
  /** Resolves when the turn would survive a power cut; the turn itself already survives a kill of the process. */
  readonly durable: Promise<void>
}

/** What another process did to the store that the owner must hear of. */
export type Notice =
  | ({ readonly kind: 'due'; readonly dueAt: number; readonly count: number } & QueueName)
  | { readonly kind: 'hold'; readonly lane: string; readonly until: number; readonly reason: string }
  | { readonly kind: 'release'; readonly lane: string }
  | { readonly kind: 'cancel'; readonly ticket: string }

/** A message with all its recipients. */
export interface Stored {
  readonly message: Message
  readonly deliveries: readonly Delivery[]
  readonly settledAt?: number
}

/** Which messages to list; every condition given must hold. */
export interface ListFilter {
  /** Messages with at least one recipient in this state. */
  readonly state?: DeliveryState
  /** Messages settled at or after this moment. */
  readonly settledSince?: number
  /** Ids after this one, in order of creation. */
  readonly after?: string
  readonly limit: number
}

/** How many deliveries there are in each state. */
export interface Counts {
  readonly waiting: number
  readonly claimed: number
  readonly parked: number
  readonly accepted: number
  readonly failed: number
  /** Messages not yet settled, and their bytes. */
  readonly openMessages: number
  readonly openBytes: number
}

/** How a verb changes what it found: the deliveries to write (claimed ones are not offered to be changed). */
export type Amendment = (stored: Stored) => readonly Delivery[]

/** Where mail waits. `memoryStore()` and `sqliteStore(file)` are two; another must pass `storeContract` of `steadymail/testing`. */
export interface Store {
  /** As `memory` or `sqlite`. */
  readonly name: string
  /** False when what it holds ends with the process. */
  readonly durable: boolean
  /** Opens and migrates; may be called again, each open wants its close. */
  open(): Promise<void>
  close(): Promise<void>

  /** Takes the owner lease when it is free, expired or one's own (by name, with a new fence); its fence, or `undefined`. Read heads and open claims after it: notices of mail from before are dropped. */
  own(owner: string, now: number, until: number): Promise<number | undefined>
  /** Extends it; false when another has taken it. */
  renew(fence: number, until: number): Promise<boolean>
  /** Gives it up at once. */
  disown(fence: number): Promise<void>

  /** Stores a message; durable when it resolves. `owner` is one's own fence, 0 for none: then the owner is sent a notice. Throws `OUTBOX_FULL`. */
  add(added: NewMessage, room: Room | undefined, owner: number): Promise<Added>
  /** One transaction: settle, claim, save lanes. Shares its commit with adds of the same event-loop turn. */
  turn(turn: Turn): Promise<TurnResult>
  /**
   * The frozen bytes; `undefined` when they are gone. They go in the transaction in which the last recipient ends,
   * but for dead letters (a recipient failed, and not because it was cancelled): those keep them until purged,
   * so that they can be sent again.
   */
  bytes(ticket: string): Promise<Uint8Array | undefined>

  /** All queues with something waiting, in pages. */
  heads(): AsyncIterable<readonly QueueHead[]>
  /** All stored lanes, in pages. */
  lanes(): AsyncIterable<readonly StoredLane[]>
  /** Claims that are open, whoever made them: at start-up, those of processes that died. */
  openClaims(): Promise<readonly Claim[]>
  /** Claims waiting deliveries whose `expiresAt` has passed, to be settled; at most `limit`. */
  claimExpired(owner: number, now: number, until: number, limit: number): Promise<readonly Claim[]>
  /** What other processes left for the owner since the last call, mail summed up by queue; nothing for who does not own. Cheap when there is nothing. */
  notices(owner: number): Promise<readonly Notice[]>
  /** Leaves a notice for the owner. */
  notify(notice: Notice): Promise<void>

  get(ticket: string): Promise<Stored | undefined>
  byKey(key: string): Promise<Stored | undefined>
  history(deliveryId: number): Promise<readonly AttemptRecord[]>
  list(filter: ListFilter): Promise<readonly Stored[]>
  counts(): Promise<Counts>
  /**
   * Changes unclaimed deliveries of a ticket in one transaction and answers with the whole message as it is then;
   * `undefined` for an unknown ticket. Durable when it resolves. Throws `BAD_STATE` when a delivery is to wait
   * again and the bytes are gone; then nothing is changed.
   */
  amend(
    ticket: string,
    change: Amendment,
    now: number,
    owner: number,
    keepOutcomes: boolean,
  ): Promise<Stored | undefined>

  /** Settled tickets whose outcome is not acknowledged, oldest first. */
  outcomes(limit: number): Promise<readonly string[]>
  acknowledge(tickets: readonly string[]): Promise<void>
  /**
   * Forgets messages settled before `settledBefore` (all accepted) or `failedBefore` (any failed recipient), and keys
   * whose message ended before `keysBefore`; at most `limit` of each. Outcomes that nobody acknowledged stay.
   * How many messages went.
   */
  purge(
    before: { settledBefore: number; failedBefore: number; keysBefore: number },
    limit: number,
  ): Promise<number>
  /**
   * Removes an address, whatever its case: deliveries that wait or are parked end as cancelled, settled ones forget it
   * (address and domain become empty, its mention in replies is replaced); one under way does so when it is settled.
   * Tickets touched. The bytes of a message that still waits for other recipients stay as they are.
   */
  erase(address: string, now: number, owner: number, keepOutcomes: boolean): Promise<readonly string[]>
}
