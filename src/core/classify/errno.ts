// Failures that no server spoke of: refused connections, names that do not resolve, TLS, logins, SDK errors.
// All are transient but those that a person must mend; mail is not given up because a machine was away.

import type { Cause, Persistence, Scope } from '../cause.ts'
import type { Reply } from '../reply.ts'

export interface ErrnoMeaning {
  readonly rule: string
  readonly cause: Cause
  readonly persistence: Persistence
  readonly scope: Scope
}

const network = (rule: string): ErrnoMeaning => ({
  rule,
  cause: 'network',
  persistence: 'transient',
  scope: 'connection',
})

// Node's system error codes and nodemailer's own (lib/errors.js), then the names of the AWS SDK's SES and SESv2 errors.
const MEANINGS: ReadonlyMap<string, ErrnoMeaning> = new Map<string, ErrnoMeaning>([
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'ECONNABORTED',
    'ETIMEDOUT',
    'ESOCKETTIMEDOUT',
    'EHOSTUNREACH',
    'EHOSTDOWN',
    'ENETUNREACH',
    'ENETDOWN',
    'ENETRESET',
    'EPIPE',
    'EADDRNOTAVAIL',
    'EADDRINUSE',
    'ESOCKET',
    'ECONNECTION',
    'ECONNCLOSED',
    'EPROXY',
    'ESTREAM',
    'UND_ERR_CONNECT_TIMEOUT',
    'UND_ERR_SOCKET',
    'TimeoutError',
    'RequestTimeout',
    'RequestTimeoutException',
    'NetworkingError',
    'ECANCELED',
    'EALREADY',
    'EMFILE',
    'ENFILE',
    'ENOBUFS',
  ].map((code): [string, ErrnoMeaning] => [code, network(`errno-${code.toLowerCase()}`)]),
  ['ENOTFOUND', { rule: 'errno-enotfound', cause: 'dns', persistence: 'transient', scope: 'recipient' }],
  ['EAI_AGAIN', { rule: 'errno-eai-again', cause: 'dns', persistence: 'transient', scope: 'recipient' }],
  ...['ESERVFAIL', 'EDNS', 'ETIMEOUT', 'EREFUSED', 'ENODATA', 'ENONAME', 'EBADRESP', 'EFORMERR'].map(
    (code): [string, ErrnoMeaning] => [
      code,
      { rule: `errno-${code.toLowerCase()}`, cause: 'dns', persistence: 'transient', scope: 'recipient' },
    ],
  ),
  ['ETLS', { rule: 'errno-etls', cause: 'tls-required', persistence: 'transient', scope: 'lane' }],
  [
    'EREQUIRETLS',
    { rule: 'errno-erequiretls', cause: 'tls-required', persistence: 'permanent', scope: 'message' },
  ],
  ...[
    'CERT_HAS_EXPIRED',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'EPROTO',
  ].map((code): [string, ErrnoMeaning] => [
    code,
    { rule: 'errno-certificate', cause: 'tls-required', persistence: 'transient', scope: 'lane' },
  ]),
  ['EAUTH', { rule: 'errno-eauth', cause: 'auth-credentials', persistence: 'transient', scope: 'sender' }],
  [
    'ENOAUTH',
    { rule: 'errno-enoauth', cause: 'auth-credentials', persistence: 'transient', scope: 'sender' },
  ],
  [
    'EOAUTH2',
    { rule: 'errno-eoauth2', cause: 'auth-credentials', persistence: 'transient', scope: 'sender' },
  ],
  [
    'EPROTOCOL',
    { rule: 'errno-eprotocol', cause: 'protocol', persistence: 'transient', scope: 'connection' },
  ],
  ['EENVELOPE', { rule: 'errno-eenvelope', cause: 'unknown', persistence: 'transient', scope: 'message' }],
  ['EMESSAGE', { rule: 'errno-emessage', cause: 'unknown', persistence: 'transient', scope: 'message' }],
  [
    'EMAXLIMIT',
    { rule: 'errno-emaxlimit', cause: 'connection-recycle', persistence: 'transient', scope: 'connection' },
  ],
  ['ESENDMAIL', { rule: 'errno-esendmail', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  ['ESES', { rule: 'errno-eses', cause: 'unknown', persistence: 'transient', scope: 'message' }],
  ...[
    'TooManyRequestsException',
    'TooManyRequests',
    'ThrottlingException',
    'Throttling',
    'RequestThrottled',
    'SlowDown',
  ].map((name): [string, ErrnoMeaning] => [
    name,
    { rule: 'ses-throttling', cause: 'rate-limit', persistence: 'transient', scope: 'sender' },
  ]),
  [
    'LimitExceededException',
    { rule: 'ses-limit-exceeded', cause: 'quota-sender', persistence: 'transient', scope: 'sender' },
  ],
  [
    'MessageRejected',
    { rule: 'ses-message-rejected', cause: 'content', persistence: 'permanent', scope: 'message' },
  ],
  [
    'AccountSuspendedException',
    { rule: 'ses-account-suspended', cause: 'policy-other', persistence: 'transient', scope: 'sender' },
  ],
  [
    'AccountSendingPausedException',
    { rule: 'ses-sending-paused', cause: 'policy-other', persistence: 'transient', scope: 'sender' },
  ],
  [
    'SendingPausedException',
    { rule: 'ses-sending-paused', cause: 'policy-other', persistence: 'transient', scope: 'sender' },
  ],
  [
    'ConfigurationSetSendingPausedException',
    { rule: 'ses-sending-paused', cause: 'policy-other', persistence: 'transient', scope: 'sender' },
  ],
  [
    'MailFromDomainNotVerifiedException',
    { rule: 'ses-mail-from', cause: 'sender-rejected', persistence: 'permanent', scope: 'sender' },
  ],
  [
    'ConfigurationSetDoesNotExistException',
    { rule: 'ses-configuration-set', cause: 'policy-other', persistence: 'permanent', scope: 'message' },
  ],
  [
    'BadRequestException',
    { rule: 'ses-bad-request', cause: 'protocol', persistence: 'permanent', scope: 'message' },
  ],
  [
    'NotFoundException',
    { rule: 'ses-not-found', cause: 'policy-other', persistence: 'permanent', scope: 'message' },
  ],
  [
    'InternalServiceErrorException',
    { rule: 'ses-internal', cause: 'server-busy', persistence: 'transient', scope: 'sender' },
  ],
  [
    'ServiceUnavailable',
    { rule: 'ses-unavailable', cause: 'server-busy', persistence: 'transient', scope: 'sender' },
  ],
  [
    'ServiceUnavailableException',
    { rule: 'ses-unavailable', cause: 'server-busy', persistence: 'transient', scope: 'sender' },
  ],
  ...[
    'AccessDeniedException',
    'UnrecognizedClientException',
    'InvalidClientTokenId',
    'SignatureDoesNotMatch',
    'ExpiredTokenException',
    'CredentialsProviderError',
    'MissingAuthenticationTokenException',
  ].map((name): [string, ErrnoMeaning] => [
    name,
    { rule: 'ses-credentials', cause: 'auth-credentials', persistence: 'transient', scope: 'sender' },
  ]),
])

// sysexits.h, which sendmail(8) and its stand-ins use.
const EXITS: ReadonlyMap<number, ErrnoMeaning> = new Map([
  [64, { rule: 'exit-usage', cause: 'protocol', persistence: 'permanent', scope: 'message' }],
  [65, { rule: 'exit-data', cause: 'content', persistence: 'permanent', scope: 'message' }],
  [67, { rule: 'exit-no-user', cause: 'recipient-unknown', persistence: 'permanent', scope: 'recipient' }],
  [68, { rule: 'exit-no-host', cause: 'dns', persistence: 'permanent', scope: 'recipient' }],
  [69, { rule: 'exit-unavailable', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [70, { rule: 'exit-software', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [71, { rule: 'exit-os', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [73, { rule: 'exit-create', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [74, { rule: 'exit-io', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [75, { rule: 'exit-temporary', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
  [76, { rule: 'exit-protocol', cause: 'network', persistence: 'transient', scope: 'connection' }],
  [77, { rule: 'exit-permission', cause: 'policy-other', persistence: 'transient', scope: 'sender' }],
  [78, { rule: 'exit-config', cause: 'server-busy', persistence: 'transient', scope: 'sender' }],
])

// The code that Node puts into a message, as in `getaddrinfo EAI_AGAIN mx.example.net` (Node, errors and dns).
const ERRNO_IN =
  /(?:^|\b(?:connect|read|write|getaddrinfo|query[A-Z][A-Za-z]{0,5}|bind|code:?) '?)(E(?:CONN(?:REFUSED|RESET|ABORTED)|TIMEDOUT|HOST(?:UNREACH|DOWN)|NET(?:UNREACH|DOWN)|PIPE|ADDRNOTAVAIL|AI_AGAIN|NOTFOUND|NODATA|SERVFAIL|TIMEOUT|REFUSED|BADRESP|FORMERR|PROTO))\b/

const tls: ErrnoMeaning = {
  rule: 'errno-certificate',
  cause: 'tls-required',
  persistence: 'transient',
  scope: 'lane',
}

// Messages of Node's sockets and TLS, of OpenSSL and of nodemailer (lib/smtp-connection), where no code came with them.
const TEXTS: readonly (readonly [RegExp, ErrnoMeaning])[] = [
  [
    /^(?:greeting never received|connection (?:timeout|closed)(?: unexpectedly)?|socket hang up|unexpected socket close|timeout|socket closed)\W{0,2}$/i,
    network('errno-text-network'),
  ],
  [
    /^client network socket disconnected before secure|self[- ]signed certificate|unable to verify the first certificate|unable to get (?:local )?issuer cert|does not match certificate|ssl routines:|wrong version number|error upgrading connection|\bhandshake failure/i,
    tls,
  ],
  [
    /^missing credentials\b/i,
    { rule: 'errno-eauth', cause: 'auth-credentials', persistence: 'transient', scope: 'sender' },
  ],
]

/**
 * What a failure without a reply means; undefined when neither its code nor its text is known.
 * A name that does not exist fails for good only where the text says so (RFC 5321 §5.1).
 */
export function errnoMeaning(reply: Reply): ErrnoMeaning | undefined {
  const { text } = reply
  const errno = reply.errno ?? ERRNO_IN.exec(text)?.[1]
  if (errno === undefined) return TEXTS.find(([pattern]) => pattern.test(text))?.[1]
  if (errno === 'ESENDMAIL') {
    const exit = /\b(?:exit(?:ed)?|code|status)\D{0,12}(\d{1,3})\b/.exec(text)
    const known = exit === null ? undefined : EXITS.get(Number(exit[1]))
    if (known !== undefined) return known
  }
  if (errno === 'EDNS' || errno === 'ENOTFOUND' || errno === 'ENODATA') {
    if (/servfail|timed? ?out|timeout|temporar|eai_again|refused/i.test(text))
      return { rule: 'errno-dns-temporary', cause: 'dns', persistence: 'transient', scope: 'recipient' }
    if (/nxdomain|null ?mx|domain (?:name )?(?:does not exist|not found)/i.test(text))
      return { rule: 'errno-nxdomain', cause: 'dns', persistence: 'permanent', scope: 'recipient' }
  }
  if (errno === 'ESES' || errno === 'Error') {
    const named = /\b[A-Z][A-Za-z]{4,40}(?:Exception|Rejected|Requests|Throttling)\b/.exec(text)?.[0]
    if (named !== undefined && MEANINGS.has(named)) return sesDetail(named, text) ?? MEANINGS.get(named)
    if (/\bThrottling\b/.test(text)) return MEANINGS.get('Throttling')
  }
  return sesDetail(errno, text) ?? MEANINGS.get(errno)
}

// SES gives several reasons under one name; the text tells them apart.
function sesDetail(name: string, text: string): ErrnoMeaning | undefined {
  if (name === 'MessageRejected' && /not verified/i.test(text))
    return { rule: 'ses-not-verified', cause: 'sender-rejected', persistence: 'permanent', scope: 'sender' }
  if (/^(?:Throttling|LimitExceeded|TooManyRequests)/.test(name) && /daily|quota/i.test(text))
    return { rule: 'ses-daily-quota', cause: 'quota-sender', persistence: 'transient', scope: 'sender' }
  return undefined
}
