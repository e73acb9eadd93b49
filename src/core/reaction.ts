// What each of the 29 causes calls for when no policy says otherwise: one table, as data, with its sources.
// A policy's `reactions` are merged over it field by field. Not here: acting on it (decide.ts, lane.ts).
// A hold is the lane's, the egress's or the From domain's, as effect.ts says; `retry` is the message's own.

import type { Cause } from './cause.ts'
import type { Reaction } from './policy.ts'

/** A retry schedule in numbers. A listed wait is lengthened by up to `spread` of itself, never shortened. */
export type ResolvedSchedule =
  | { readonly kind: 'list'; readonly ms: readonly number[]; readonly spread: number }
  | {
      readonly kind: 'curve'
      readonly firstMs: number
      readonly factor: number
      readonly maxMs: number
      /** Share of the wait by which it varies either way. */
      readonly jitter: number
    }

/** A reaction with every default in place. */
export interface ResolvedReaction {
  /** Absent: the policy's own `retry`. */
  readonly retry?: ResolvedSchedule
  /** Absent: no hold. */
  readonly holdMs?: number
  /** The holds in turn, instead of doubling; the last repeats. */
  readonly holdStepsMs?: readonly number[]
  readonly permanentHoldMs?: number
  readonly holdMaxMs: number
  readonly rateFactor: number
  readonly concurrencyFactor: number
  readonly countsAsAttempt: boolean
  readonly onPermanent: 'fail' | 'retry'
  readonly maxAttempts?: number
  readonly maxAgeMs?: number
  readonly alert: boolean
  readonly source?: string
}

/** An unexplained 4xx: 15 min, doubling to 4 h. */
export const DEFAULT_RETRY = { first: '15m', factor: 2, max: '4h', jitter: 0.2 } as const

/** Where `DEFAULT_RETRY` comes from. */
export const DEFAULT_RETRY_SOURCE =
  'RFC 5321 §4.5.4.1 asks for 30 min in general; providers ask to wait 15 to 30 min after a 421'

/** Longest hold that doubling reaches where a reaction names none. */
export const DEFAULT_HOLD_MAX = '4h'

const OWN = 'a choice of this library; no provider states a number'

/** The default reactions. `countsAsAttempt: false` says that a refusal leaves the message's back-off alone. */
export const DEFAULT_REACTIONS: Readonly<Record<Cause, Reaction>> = {
  // about the sender at this receiver: hold, then probe with one message
  'rate-limit': {
    hold: '5m',
    holdMax: '4h',
    rateFactor: 0.5,
    countsAsAttempt: false,
    source:
      'GMX and WEB.DE count retries against the rate, so all mail waits: postmaster.gmx.com/en/error-messages',
  },
  concurrency: {
    hold: '30s',
    holdMax: '15m',
    concurrencyFactor: 0.5,
    countsAsAttempt: false,
    source: 'connections are too many, not messages: aka.ms/concurrent_sending, postmaster.comcast.net',
  },
  'connection-recycle': {
    countsAsAttempt: false,
    onPermanent: 'retry',
    source: 'RFC 5321 §3.8: the channel closes, the message is untouched; a fresh connection goes at once',
  },
  'reputation-ip': {
    hold: '1h',
    permanentHold: '24h',
    holdMax: '4h',
    rateFactor: 0.25,
    countsAsAttempt: false,
    alert: true,
    source:
      'Yahoo TSS04 asks for hours, Microsoft and Cox block for up to 24 h; 5xx fails its message, the rest wait',
  },
  'reputation-domain': {
    hold: '1h',
    permanentHold: '24h',
    holdMax: '4h',
    rateFactor: 0.25,
    countsAsAttempt: false,
    alert: true,
    source: 'as reputation-ip, for the From domain: support.google.com/mail/answer/81126',
  },
  blocklist: {
    hold: '4h',
    permanentHold: '24h',
    holdMax: '24h',
    rateFactor: 0.25,
    countsAsAttempt: false,
    alert: true,
    source:
      'a listing ends when the operator has it removed; one message asks every 4 to 24 h. 5xx fails its message',
  },
  'reverse-dns': {
    hold: '30m',
    permanentHold: '4h',
    holdMax: '4h',
    countsAsAttempt: false,
    alert: true,
    source: 'DNS that was repaired shows within hours; 5xx fails its message, the rest wait',
  },
  'tls-required': {
    hold: '30m',
    holdMax: '4h',
    countsAsAttempt: false,
    onPermanent: 'retry',
    alert: true,
    source: 'RFC 3207 §4: 530 until STARTTLS; the setting is at fault, not the message, which is kept',
  },
  'server-busy': {
    hold: '2m',
    holdMax: '30m',
    countsAsAttempt: false,
    source: `Amazon SES asks to wait up to 10 min: docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html`,
  },
  network: {
    retry: { first: '1m', max: '30m' },
    hold: '1m',
    holdMax: '30m',
    onPermanent: 'retry',
    source: `${OWN}; a refused connection holds and does not count, one lost in the middle counts`,
  },
  // about one's own account or From domain, whatever the receiver
  'auth-credentials': {
    hold: ['5m', '15m', '1h'],
    countsAsAttempt: false,
    onPermanent: 'retry',
    alert: true,
    source:
      'repeated bad logins lock the account (Gmail 454 4.7.0 Too many login attempts); the mail is kept',
  },
  'quota-sender': {
    hold: '1h',
    holdMax: '24h',
    countsAsAttempt: false,
    alert: true,
    source: 'windows are an hour (cPanel) or a day (Gmail, SES): support.google.com/a/answer/166852',
  },
  authentication: {
    retry: { first: '1h', max: '6h' },
    hold: '1h',
    permanentHold: 0,
    holdMax: '6h',
    countsAsAttempt: false,
    alert: true,
    source:
      'a 4xx of SPF, DKIM or DMARC is a DNS trouble of hours; a 5xx fails its message and one receiver stops no other',
  },
  'sender-rejected': {
    retry: { first: '30m', max: '4h' },
    hold: '30m',
    permanentHold: 0,
    holdMax: '4h',
    countsAsAttempt: false,
    alert: true,
    source: 'RFC 5321 §4.5.4.1, 30 min; a 5xx fails its message only',
  },
  // about one recipient or mailbox
  greylist: {
    retry: ['6m', '15m', '30m'],
    source: 'RFC 6647; Mimecast accepts a retry between 1 min and 12 h, postgrey after 5 min',
  },
  'recipient-unknown': { source: '5xx fails at once (RFC 5321 §4.2.1); a 4xx may be a directory that lags' },
  'recipient-disabled': { retry: ['1h'], maxAge: '1d', source: OWN },
  'mailbox-full': { retry: { first: '2h', max: '6h' }, maxAge: '3d', source: OWN },
  'recipient-rate': {
    retry: { first: '15m', max: '1h' },
    source: 'Gmail 450 4.2.1 ReceivingRate: support.google.com/mail/answer/6592',
  },
  'recipient-unverified': {
    retry: ['3m', '5m', '15m'],
    source:
      'Postfix address verification answers 450 until its probe ends: postfix.org/ADDRESS_VERIFICATION_README',
  },
  'relay-denied': { retry: ['1h'], source: OWN },
  dns: {
    retry: { first: '15m', max: '1h' },
    source: 'RFC 5321 §4.5.4.1; negative answers live for minutes (RFC 2308)',
  },
  // about the message or the dialogue
  'too-many-recipients': {
    countsAsAttempt: false,
    onPermanent: 'retry',
    source: 'RFC 5321 §4.5.3.1.10: the rest go at once in a new transaction, 552 as 452',
  },
  content: {
    retry: ['5m', '30m', '2h'],
    maxAttempts: 4,
    source: 'NetEase DT:SPM asks to keep the mail and try in 2 min; content does not change by waiting',
  },
  'message-too-large': {
    retry: ['1h'],
    maxAttempts: 3,
    source: 'RFC 1870; a full server disk may pass, a limit does not',
  },
  protocol: {
    retry: { first: '2m', max: '1h' },
    alert: true,
    source:
      'a fault of the client or the path; reconnect after minutes, fewer bad recipients to a connection',
  },
  smtputf8: { retry: ['1h'], maxAttempts: 3, source: 'RFC 6531 §3.5: the receiver cannot take the address' },
  'policy-other': { source: DEFAULT_RETRY_SOURCE },
  unknown: { hold: '5m', holdMax: '1h', rateFactor: 0.8, source: DEFAULT_RETRY_SOURCE },
}
