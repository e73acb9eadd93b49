// What a reply means: the value that classification makes and decisions read.

import type { Cause, Persistence, Scope } from './cause.ts'
import type { Phase } from './reply.ts'

/** Which layer of the classifier decided; each later one is less specific. */
export type Layer = 'user' | 'provider' | 'general' | 'enhanced' | 'class' | 'errno'

/** The meaning of one reply. */
export interface Verdict {
  readonly persistence: Persistence
  readonly cause: Cause
  readonly scope: Scope
  /** The wait the server's text (or else the rule) states, in ms. */
  readonly retryAfterMs?: number
  /** Where `retryAfterMs` comes from. */
  readonly retryAfterFrom?: 'text' | 'rule'
  /** The provider recognised, as `gmail`, where one was. */
  readonly provider?: string
  /** Id of the rule that decided, as `yahoo-tss04`. */
  readonly rule: string
  readonly layer: Layer
  /** One sentence for a person: what to do about it. */
  readonly advice: string
  /** The provider's page about it, where there is one. */
  readonly url?: string
  /** Whether waiting alone can help. */
  readonly waitingHelps: boolean
}

/** What is known around a reply; every field is optional. */
export interface ReplyContext {
  /** Overrides the reply's own phase. */
  readonly phase?: Phase
  /** MX host of the recipient domain, or the host connected to. */
  readonly mx?: string
  /** Recipient domain. */
  readonly domain?: string
  /** Whether the replies come from one's own relay or from the recipient's MX. */
  readonly route?: 'relay' | 'direct'
  /** Epoch ms; lets "after 12:30 UTC" become a wait. */
  readonly now?: number
}
