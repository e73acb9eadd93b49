// The 29 causes a reply can have: the vocabulary that rules, reactions and outcomes share.
// Not here: what to do about a cause (reaction.ts) or how to recognise it (classify.ts).

/** Why a server refused or deferred. */
export const CAUSES = [
  'rate-limit',
  'concurrency',
  'connection-recycle',
  'greylist',
  'reputation-ip',
  'reputation-domain',
  'blocklist',
  'authentication',
  'reverse-dns',
  'content',
  'recipient-unknown',
  'recipient-disabled',
  'mailbox-full',
  'recipient-rate',
  'recipient-unverified',
  'message-too-large',
  'too-many-recipients',
  'relay-denied',
  'sender-rejected',
  'tls-required',
  'auth-credentials',
  'quota-sender',
  'server-busy',
  'dns',
  'network',
  'protocol',
  'smtputf8',
  'policy-other',
  'unknown',
] as const

/** One of `CAUSES`. */
export type Cause = (typeof CAUSES)[number]

/**
 * Whom a reply speaks of. `message`: this content. `recipient`: this mailbox or its domain.
 * `connection`: a fresh connection cures it. `lane`: this sender at this provider.
 * `sender`: one's own account or From domain, whatever the provider.
 */
export const SCOPES = ['message', 'recipient', 'connection', 'lane', 'sender'] as const

/** One of `SCOPES`. */
export type Scope = (typeof SCOPES)[number]

/** Whether the same message may succeed later (RFC 5321 §4.2.1). */
export type Persistence = 'transient' | 'permanent'
