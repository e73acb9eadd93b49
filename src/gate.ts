// The contract of a quota that is shared beyond this process: whoever holds a permit may make one attempt.
// Permits are acquired before anything is claimed, so that a gate that never answers keeps no mail.
// Not here: the account's quota in one process, which is the egress's own bucket (egress.ts).

import type { Priority } from './core/message.ts'

/** Grants permits. Anything with a `schedule(fn)` will do. */
export interface EgressGate {
  /**
   * Calls `use` when a permit is granted and takes it back when the promise it gives settles.
   * Rejects when none will be granted; `use` was not called then.
   */
  schedule<T>(use: () => Promise<T>, options: { readonly priority: Priority }): Promise<T>
  /** How long the oldest request has been waiting, in ms; `undefined` when none waits. */
  waitingMs?(): number | undefined
  /** Called once when the mailer closes: what still waits is to be rejected. */
  close?(): Promise<void>
}
