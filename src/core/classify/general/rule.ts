// How a general rule is written down: an id, a cause, a pattern over the folded text, and a reply it must match.
// Patterns are lower case and begin at a word (`\b`), so that they can be indexed; repeats are bounded.

import type { Cause } from '../../cause.ts'
import type { ReplyRule } from '../../policy.ts'

export const POSTFIX = 'Postfix smtpd(8), postscreen(8) and access(5), www.postfix.org'
export const EXIM = 'Exim specification and default ACLs, www.exim.org'
export const SENDMAIL = 'sendmail cf/README and proto.m4'
export const QMAIL = 'qmail, chkuser, spamdyke and vpopmail sources'
export const EXCHANGE = 'Exchange NDR codes, learn.microsoft.com'
export const BOUNCES =
  'replies collected by bounce processors (Sisimai, ZoneMTA, KumoMTA), libsisimai.org/en/reason'
export const MANUAL = 'SMTP Field Manual, smtpfieldmanual.com'
export const FILTERS = 'texts of mail filters (rspamd, SpamAssassin, Barracuda, Cisco, Sophos, SpamExperts)'
export const RFC = 'RFC 5321, RFC 3463 and RFC 5248'
export const HOSTERS = 'help pages of mail hosts and submission relays'
export const READ = '2026-11-20'

type Extra = Partial<Omit<ReplyRule, 'id' | 'cause' | 'text' | 'samples' | 'source' | 'date'>>

/** One general rule; `samples` are replies it must match. */
export function general(
  id: string,
  cause: Cause,
  text: RegExp,
  source: string,
  samples: string | readonly string[],
  extra: Extra = {},
): ReplyRule {
  return {
    id,
    cause,
    text,
    ...extra,
    source,
    date: READ,
    samples: typeof samples === 'string' ? [samples] : samples,
  }
}
