// What every store must agree on: which states are final, when two adds under one key are the same,
// what an erased recipient leaves behind, and the errors they share. No storage here.

import type { AttemptRecord, Delivery, DeliveryState } from '../core/delivery.ts'
import { SteadymailError } from '../core/error.ts'
import type { NewMessage, Room } from './store.ts'

/** No further attempt will be made. */
export function isFinal(state: DeliveryState): boolean {
  return state === 'accepted' || state === 'failed'
}

/** One text for one set of recipients, in whatever order they were given. */
export function recipientSet(added: NewMessage): string {
  return added.deliveries
    .map((delivery) => delivery.address)
    .sort()
    .join('\n')
}

/**
 * Whether the bytes are kept for a later `retry`: a dead letter keeps them until it is purged.
 * What was cancelled does not, since somebody said that it must not be sent.
 */
export function isDeadLetter(delivery: Pick<Delivery, 'state' | 'reason'>): boolean {
  return delivery.state === 'failed' && delivery.reason !== 'cancelled'
}

/** An address as erasure compares it: RFC 5321 lets local parts differ by case, but no erasure request does. */
export function erasable(address: string): string {
  return address.trim().toLowerCase()
}

/** The delivery without its recipient; what was still to be sent ends as cancelled. */
export function withoutRecipient(delivery: Delivery, now: number): Delivery {
  const last = delivery.last && withoutAddress(delivery.last, delivery.address)
  const blank: Delivery = { ...delivery, address: '', domain: '', ...(last && { last }) }
  return isFinal(blank.state) ? blank : { ...blank, state: 'failed', reason: 'cancelled', settledAt: now }
}

/** Servers echo addresses in their replies; a transcript repeats the RCPT command, so it goes as a whole. */
export function withoutAddress(record: AttemptRecord, address: string): AttemptRecord {
  const { transcript: _, ...kept } = record
  const echoed = new RegExp(address.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi')
  const text = address === '' ? record.reply.text : record.reply.text.replace(echoed, 'erased')
  return { ...kept, reply: { ...record.reply, text } }
}

/** By how many more wait in its queue the owner must hear of a change made by somebody else; `undefined`: nothing to hear. */
export function newsOf(before: Delivery | undefined, next: Delivery): number | undefined {
  if (next.state !== 'waiting') return undefined
  if (before?.state !== 'waiting' || before.lane !== next.lane) return 1
  return before.dueAt === next.dueAt ? undefined : 0
}

/** The `OUTBOX_FULL` error, or `undefined` where `size` more bytes still fit. */
export function noRoom(
  room: Room | undefined,
  open: { readonly messages: number; readonly bytes: number },
  size: number,
): SteadymailError | undefined {
  if (!room) return undefined
  if (open.messages >= room.messages)
    return new SteadymailError(
      'OUTBOX_FULL',
      `maxWaiting: ${open.messages} messages wait, ${room.messages} may`,
      {
        path: 'maxWaiting.messages',
      },
    )
  if (open.bytes + size > room.bytes)
    return new SteadymailError(
      'OUTBOX_FULL',
      `maxWaiting: ${open.bytes} bytes wait and ${size} more would exceed ${room.bytes}`,
      { path: 'maxWaiting.bytes' },
    )
  return undefined
}

export function ownerLost(): SteadymailError {
  return new SteadymailError('OWNER_LOST', 'another process delivers from this store now')
}

export function bytesGone(ticket: string): SteadymailError {
  return new SteadymailError('BAD_STATE', `${ticket}: its bytes are gone, so it cannot be sent again`)
}
