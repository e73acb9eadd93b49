// What a server said, as a value: one Reply for one recipient of one attempt.
// Not here: what it means (classify.ts).

/** Where in the SMTP session a reply came. `idle`: on a connection that was waiting for work. */
export const PHASES = ['greeting', 'ehlo', 'auth', 'mail', 'rcpt', 'data', 'dot', 'idle', 'unknown'] as const

/** Where in the SMTP session a reply came; `idle` on a connection that was waiting for work. */
export type Phase = (typeof PHASES)[number]

/** How a connection was protected when a reply came over it. */
export interface ReplyTls {
  /** As `TLSv1.3`. */
  readonly version: string
  /** By its IANA name, as `TLS_AES_256_GCM_SHA384`. */
  readonly cipher: string
  /** The certificate was valid for the host, or matched its TLSA record. */
  readonly verified: boolean
}

/** One server reply (RFC 5321 §4.2), or the failure that stood in its place. */
export interface Reply {
  /** Basic code, 200 to 599; absent when the connection failed without a reply. */
  readonly code?: number
  /** Enhanced status code (RFC 3463), as `4.7.28`. */
  readonly enhanced?: string
  /** The reply's text, all lines joined by `\n`, as the server sent it (codes included). */
  readonly text: string
  readonly phase: Phase
  /** The host that spoke, where known. */
  readonly host?: string
  /** The host's IP address, where known (direct delivery). */
  readonly address?: string
  /** How the session was protected, `false` for not at all; absent where that is not known. */
  readonly tls?: ReplyTls | false
  /** What failed where there was no reply: a Node, nodemailer or SDK error code such as `ECONNREFUSED`, `ETIMEDOUT`, `EDNS`, `ETLS`, `EAUTH`, `TooManyRequestsException`. */
  readonly errno?: string
}
