// One frozen mail: what goes on the wire, the same on every attempt, and what the user said about it.

/** 0 high, 1 normal, 2 bulk: as stored and compared. */
export type Priority = 0 | 1 | 2

/** `high` before `normal` before `bulk`, in all lanes; bulk keeps a tenth of what leaves. */
export const PRIORITIES = ['high', 'normal', 'bulk'] as const

/** `high` goes before `normal`, `normal` before `bulk`, across lanes; bulk keeps a tenth of what leaves. */
export type PriorityName = (typeof PRIORITIES)[number]

/** What becomes of a delivery whose outcome is uncertain: send again, let a person decide, give up. */
export type OnUncertain = 'retry' | 'park' | 'fail'

/** Per-message SMTP options that travel with the frozen bytes. Never credentials. */
export interface WireOptions {
  /** Delivery status notification (RFC 3461), as nodemailer's `dsn`. */
  readonly dsn?: Readonly<Record<string, unknown>>
  /** Ask for REQUIRETLS (RFC 8689). */
  readonly requireTLSExtensionEnabled?: boolean
  /** Fields of a user-given envelope beyond from and to, as `size` and `use8BitMime`. */
  readonly envelope?: Readonly<Record<string, unknown>>
  /** Fields for SES's SendEmailCommand, as nodemailer's `ses`. */
  readonly ses?: Readonly<Record<string, unknown>>
}

/** A stored mail without its bytes. */
export interface Message {
  /** The ticket: ours, unique, sorts by time of creation. */
  readonly id: string
  /** The user's idempotency key. */
  readonly key?: string
  /** The Message-ID header, with angle brackets. */
  readonly messageId: string
  /** Envelope sender (MAIL FROM); empty for the null reverse-path. */
  readonly from: string
  /** Domain of the From header, normalised; what authentication and reputation are about. */
  readonly fromDomain: string
  /** Length of the frozen bytes. */
  readonly size: number
  readonly priority: Priority
  readonly createdAt: number
  readonly expiresAt: number
  /** How many recipients it had when stored. */
  readonly recipients: number
  readonly onUncertain?: OnUncertain
  readonly wire: WireOptions
  /** The user's JSON, serialised. */
  readonly meta?: string
}
