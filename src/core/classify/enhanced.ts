// The layer below words: what the enhanced status code alone (RFC 3463, RFC 5248, RFC 7372, RFC 8461) says, if anything.
// Codes that servers use for everything (x.0.0, x.7.0, x.7.1, x.3.0) say nothing.

import type { Cause } from '../cause.ts'
import type { ReplyRule } from '../policy.ts'
import { RFC } from './general/rule.ts'

const CODES: readonly (readonly [detail: string, cause: Cause, only?: '4xx' | '5xx'])[] = [
  ['1.1', 'recipient-unknown'],
  ['1.2', 'dns'],
  ['1.3', 'recipient-unknown'],
  ['1.4', 'recipient-unknown'],
  ['1.6', 'recipient-disabled'],
  ['1.7', 'sender-rejected'],
  ['1.8', 'sender-rejected'],
  ['1.9', 'sender-rejected'],
  ['1.10', 'dns'],
  ['2.1', 'recipient-disabled'],
  ['2.2', 'mailbox-full'],
  ['2.3', 'message-too-large'],
  ['3.1', 'server-busy'],
  ['3.2', 'server-busy', '4xx'],
  ['3.3', 'server-busy', '4xx'],
  ['3.4', 'message-too-large'],
  ['3.5', 'server-busy'],
  ['4.1', 'network'],
  ['4.2', 'network'],
  ['4.3', 'dns'],
  ['4.4', 'dns'],
  ['4.5', 'server-busy'],
  ['4.6', 'dns'],
  ['4.7', 'unknown'],
  ['5.1', 'protocol'],
  ['5.2', 'protocol'],
  ['5.3', 'too-many-recipients'],
  ['5.4', 'protocol'],
  ['5.5', 'protocol'],
  ['5.6', 'protocol'],
  ['6.0', 'content'],
  ['6.1', 'content'],
  ['6.2', 'content'],
  ['6.3', 'content'],
  ['6.4', 'content'],
  ['6.5', 'content'],
  ['6.6', 'content'],
  ['6.11', 'content'],
  ['6.12', 'content'],
  ['6.7', 'smtputf8'],
  ['6.8', 'smtputf8'],
  ['6.9', 'smtputf8'],
  ['6.10', 'smtputf8'],
  ['7.2', 'policy-other'],
  ['7.4', 'tls-required'],
  ['7.8', 'auth-credentials'],
  ['7.9', 'auth-credentials'],
  ['7.10', 'tls-required'],
  ['7.11', 'tls-required'],
  ['7.12', 'auth-credentials'],
  ['7.13', 'policy-other'],
  ['7.17', 'recipient-unknown'],
  ['7.18', 'recipient-unknown'],
  ['7.20', 'authentication'],
  ['7.21', 'authentication'],
  ['7.22', 'authentication'],
  ['7.23', 'authentication'],
  ['7.24', 'authentication'],
  ['7.25', 'reverse-dns'],
  ['7.26', 'authentication'],
  ['7.27', 'sender-rejected'],
  ['7.28', 'rate-limit'],
  ['7.29', 'authentication'],
  ['7.30', 'tls-required'],
]

/** x.1.0 is about whichever address the command gave. */
const ADDRESS: readonly ReplyRule[] = (['rcpt', 'mail'] as const).map((phase) => ({
  id: `enhanced-1-0-${phase}`,
  enhanced: '*.1.0',
  phase,
  cause: phase === 'rcpt' ? 'recipient-unknown' : 'sender-rejected',
  source: RFC,
  date: '2026-11-20',
  samples: ['550 5.1.0 hm'],
}))

const BY_CODE: readonly ReplyRule[] = CODES.map(([detail, cause, only]) => {
  const first = only === '4xx' ? 4 : 5
  return {
    id: `enhanced-${detail.replace('.', '-')}`,
    enhanced: `*.${detail}`,
    ...(only === undefined ? {} : { code: only }),
    cause,
    source: RFC,
    date: '2026-11-20',
    samples: [`${first === 4 ? 451 : 550} ${first}.${detail} hm`],
  }
})

/** Rules for the codes that mean something by themselves. */
export const ENHANCED_RULES: readonly ReplyRule[] = [...ADDRESS, ...BY_CODE]
