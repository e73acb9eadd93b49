// A nodemailer transport for frameworks that want to call createTransport and sendMail themselves.
// The mail is frozen through the wrapped transporter: its defaults, plugins and DKIM apply, not the outer one's.

import { badOption, SteadymailError } from './core/error.ts'
import type { SendOptions } from './options.ts'
import type { Ticket } from './ticket.ts'
import { DROP_IN } from './transporter.ts'

/** What `sendMail` over the drop-in resolves to. */
export interface DropInInfo {
  readonly envelope: { readonly from: string | false; readonly to: readonly string[] }
  readonly messageId: string
  readonly accepted: readonly string[]
  readonly rejected: readonly string[]
  readonly pending: readonly string[]
  /** `250 2.0.0 queued as <id>` */
  readonly response: string
  /** The stored message. */
  readonly ticket: Ticket
}

/** Give it to `nodemailer.createTransport`. Options for `sendWithRetry` ride on the mail's `steadymail` field. */
export interface DropInTransport {
  readonly name: string
  readonly version: string
  // `never` fits the mail object of every major; nodemailer's types take sendMail's result from `info`
  send(mail: never, callback: (error: Error | null, info: DropInInfo) => void): void
  verify(callback?: (error: Error | null, success?: true) => void): Promise<true> | undefined
}

interface OuterMail {
  readonly data: Record<string, unknown>
  readonly message: {
    getEnvelope(): { from: string | false; to: string[] }
    readonly _transforms?: readonly unknown[]
    readonly _processFuncs?: readonly unknown[]
  }
}

type Send = (mail: unknown, options: SendOptions) => Promise<Ticket>

export function dropIn(send: Send, verify: () => Promise<void>): DropInTransport {
  const transport = {
    name: 'steadymail',
    version: '0.1.0',
    [DROP_IN]: true,
    send(mail: OuterMail, callback: (error: Error | null, info?: DropInInfo) => void): void {
      take(mail, send).then((info) => callback(null, info), callback)
    },
    verify(callback?: (error: Error | null, success?: true) => void) {
      const verified = verify().then((): true => true)
      if (callback === undefined) return verified
      verified.then((ok) => callback(null, ok), callback)
      return undefined
    },
  }
  return transport as unknown as DropInTransport
}

async function take(mail: OuterMail, send: Send): Promise<DropInInfo> {
  const { steadymail, ...data } = mail.data
  const streamed = (mail.message._transforms?.length ?? 0) + (mail.message._processFuncs?.length ?? 0)
  if (streamed > 0) {
    throw new SteadymailError(
      'BAD_MESSAGE',
      'a stream plugin or DKIM of the outer transporter cannot apply to a stored message: give it to the transporter that wrapTransport wraps',
      { path: 'transporter' },
    )
  }
  if (steadymail !== undefined && (typeof steadymail !== 'object' || steadymail === null)) {
    throw badOption('mail.steadymail', 'an object of sendWithRetry options', steadymail)
  }
  const ticket = await send(data, (steadymail ?? {}) as SendOptions)
  const envelope = mail.message.getEnvelope()
  return {
    envelope,
    messageId: ticket.messageId,
    accepted: envelope.to,
    rejected: [],
    pending: [],
    response: `250 2.0.0 queued as ${ticket.id}`,
    ticket,
  }
}
