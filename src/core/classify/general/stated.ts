// General rules that are asked before the others: texts that state their reason so plainly that other words beside it,
// as "blocked", "spam" or "mailbox", must not be read. Defaults of well-known servers among them.
// Not here: a reason named by a vague word alone; those rules come later and are told apart by their order.

import { BOUNCES, EXCHANGE, EXIM, FILTERS, general, HOSTERS, MANUAL, POSTFIX, RFC } from './rule.ts'
import { expired, limits, servers } from './stated-system.ts'

const HMAIL = 'hMailServer, Courier and Coremail sources and documentation'

const accounts = [
  general(
    'account-at-mail',
    'policy-other',
    /\baccount\b[^.;@]{0,30}\b(?:suspended|blocked|disabled|unavailable|deactivated|restricted|banned|inactive)\b/,
    HOSTERS,
    ['550 Account suspended. Contact support@example.com', '551 Main account unavailable'],
    { scope: 'sender', phase: 'mail' },
  ),
  general(
    'suppressed',
    'recipient-disabled',
    /\bsuppression list\b|\bsuppressed\b|\bunsubscribed\b|\bcontact (?:is )?(?:blocklisted|blacklisted|blocked)\b/,
    HOSTERS,
    [
      '554 5.7.1 Recipient is on your suppression list',
      '554 5.7.1 <a@example.com> Recipient has been suppressed: hard bounce',
    ],
  ),
  general(
    'send-as',
    'sender-rejected',
    /\bpermissions? to send as\b|\bsend as (?:this|the|that) (?:sender|user|address|mailbox)\b|\bunconfigured sending domain|\bverify your (?:e-?mail address|e-?mail|sender|sending domain|domain) (?:before|first|to send|to start)\b|\bsender (?:address|e-?mail|domain)\b[^;]{0,60}\b(?:is )?not (?:allowed|configured|authori[sz]ed)\b[^;]{0,24}\b(?:add|configure|verify|your)\b/,
    EXCHANGE,
    [
      '550 5.7.60 SMTP; Client does not have permissions to send as this sender',
      '550 5.7.1 Unconfigured Sending Domain <example.org>',
      '550 5.7.1 You must verify your email address before sending',
      '550 The sender address "a@example.org" is not allowed: please add it to your authorized senders',
    ],
  ),
  general(
    'login-encryption',
    'tls-required',
    /\bencryption (?:is )?(?:required|needed)\b/,
    RFC,
    '538 5.7.11 Encryption required for requested authentication mechanism',
    { code: 538 },
  ),
  general(
    'certificate-untrusted',
    'tls-required',
    /\b(?:untrustedroot|certexpired|certificateexpired|certificate_unknown)\b/,
    EXCHANGE,
    '450 4.4.317 Cannot establish session with remote server [Message=UntrustedRoot] [LastAttemptedIP=192.0.2.25:25]',
  ),
]

const standing = [
  general(
    'karma',
    'reputation-ip',
    /\bkarma\b/,
    'Haraka karma plugin, haraka.github.io/plugins/karma',
    '550 very bad karma score: -7',
  ),
  general(
    'open-relay-suspected',
    'reputation-ip',
    /\bpossible open (?:relay|proxy)|\bopen (?:relay|proxy) (?:detected|found)|\b(?:is|seems|appears to be) an open (?:relay|proxy)|\bexcessive unknown recipients|\b(?:number|rate|percentage|amount) of (?:\w{1,10} ){0,4}(?:invalid|unknown|nonexistent|non-existent) (?:users|recipients|addresses)\b|\bsent to (?:\w{1,10} ){0,2}(?:invalid|unknown|nonexistent|non-existent) (?:users|recipients|addresses)\b|\bnumber of (?:failed|invalid|unknown) recipients\b|\bspam ip\b/,
    BOUNCES,
    [
      '451 VS1-IP Excessive unknown recipients - possible Open Relay (#4.1.8) 192.0.2.55',
      '421 4.3.2 [192.0.2.10] The number of messages sent to invalid users is too high. Delivery is restricted temporarily',
      '550 Suspected spam ip.',
    ],
  ),
  general(
    'spam-much',
    'reputation-ip',
    /\b(?:sent|sending|sends|from) (?:\w{1,10} ){0,3}too (?:much|many) spams?\b|\btoo (?:much|many) spams? (?:\w{1,10} ){0,2}from\b/,
    BOUNCES,
    '550-5.7.1 Mail rejected. Your IP 192.0.2.9 sent too much spam.',
  ),
  general(
    'listed-at-address',
    'blocklist',
    /\bblack-?listed (?:in|at|by|on|with) href:|\b(?:is|found|listed) in an? (?:rbl|dnsbl)\b/,
    BOUNCES,
    [
      '554 IP blacklisted in http://www.senderbase.org',
      '550 "JunkMail rejected - mail.example.org [192.0.2.9]:4567 is in an RBL: Client host blocked using Barracuda Reputation"',
    ],
  ),
  general(
    'domain-standing',
    'reputation-domain',
    /\bdomain \S{1,80} (?:\w{1,10} ){1,5}(?:due to|because of|for) (?:\w{1,10} ){0,3}(?:complaints|reputation|abuse)\b/,
    FILTERS,
    [
      '550 5.7.1 Domain example.org has been blocked because of complaints',
      '554 5.7.1 Mail from domain example.org is not accepted here due to bad reputation',
    ],
  ),
  general(
    'domain-new',
    'reputation-domain',
    /\bdomain (?:\S{1,80} )?(?:is |was |has been |been ){0,2}(?:too new|too young|newly (?:registered|created|observed)|recently (?:registered|created))|\bnewly (?:registered|observed|created) (?:\w{1,8} )?domain|\bnew domain\b|\bdomain age\b|\bfresh domain/,
    FILTERS,
    '451 4.7.1 Sender domain news.example.org is too new, try again later',
  ),
]

const messages = [
  general(
    'rspamd-map',
    'content',
    /\bmatched map\b|\bpassword[ -]protected\b|\bduplicate (?:message|mail|e-?mail)\b|\b(?:held|placed|put) (?:by|in|for|into) (?:\w{1,10} )?quarantine\b|\bid=\S{3,24} - (?:banned|spam|infected|virus|bad-header)\b/,
    FILTERS,
    [
      '554 5.7.1 Matched map: FORBIDDEN_FILE_EXTENSION',
      '554 5.7.1 Rejected, id=12345-06 - BANNED: .exe,.exe-ms,setup.exe',
      '550 5.7.1 Mail with password protected archives is refused',
      '550 5.7.1 Duplicate message detected; already received',
      '450 4.7.1 Your message was held by quarantine pending administrator review',
    ],
  ),
  general(
    'recipient-rejected-unknown',
    'recipient-unknown',
    /\brecipient (?:address )?rejected\.?$|\baddress rejected\.?$/,
    RFC,
    '550 5.1.1 <a@example.com> recipient rejected',
    { code: '5xx', enhanced: '5.1.1' },
  ),
  general(
    'mailbox-not-yet',
    'recipient-disabled',
    /\b(?:mailbox|inbox|recipient|address) (?:\w{1,10} ){0,3}not (?:yet )?(?:been )?(?:activated|enabled|provisioned|set up)\b/,
    MANUAL,
    '550 Mailbox has not been activated yet',
    { phase: ['rcpt', 'data', 'dot', 'unknown'] },
  ),
  general(
    'size-said',
    'message-too-large',
    /\b(?:message|mail|e-?mail) is \d{1,9} ?(?:[kmg]i?b|bytes)\b|\bat most \d{1,9} ?(?:[kmg]i?b|bytes)\b/,
    MANUAL,
    '552 Your message is 30 MB, we accept at most 20 MB',
  ),
  general(
    'recipient-route',
    'recipient-unknown',
    /\bnot in (?:the )?route list\b|\bmailbox is gone\b|\b(?:do not|don't) know (?:<?mailaddr|this (?:user|address)|that (?:user|address))|\buser path (?:no|not|does)|\b(?:recipient|mailbox|user|address|mailaddr\S{0,2}) no exist/,
    HMAIL,
    ['421 Recipient not in route list.', '450 user path no exist'],
  ),
  general(
    'domain-ended',
    'recipient-disabled',
    /\bdomain (?:name )?(?:\S{1,80} )?(?:has |is )(?:expired|parked)\b|\bdomain (?:expired|parked)\b/,
    HOSTERS,
    ['550 Domain example.com has expired', '550 This domain is parked and receives no mail'],
    { phase: ['rcpt', 'data', 'dot', 'unknown'] },
  ),
  general(
    'not-exchanger',
    'relay-denied',
    /\bnot (?:the |a |an )?(?:mail exchanger|mx|mail host) for\b/,
    HMAIL,
    '550 5.7.1 We are not the mail exchanger for example.com',
  ),
  general(
    'delivery-not-allowed',
    'policy-other',
    /\bdelivery (?:is )?not allowed to\b/,
    HMAIL,
    '550 Delivery is not allowed to this address.',
    { scope: 'recipient' },
  ),
  general(
    'members-may',
    'policy-other',
    /\bonly (?:\w{1,14} ){0,2}(?:members?|subscribers?|users|senders|employees|staff) (?:may|can|are (?:allowed|permitted))\b|\b(?:from )?outside (?:the |of the |of |this |your )?organi[sz]ation\b|\b(?:external|outside|internet) senders? (?:are |is )?(?:not|cannot|may not)\b|\bby (?:the )?recipient's (?:rules?|settings|filters?|preferences|policy)\b/,
    EXCHANGE,
    [
      '550 5.7.1 Only members may post to list news@example.com',
      '550 5.7.1 Message from outside organisation not permitted to this address',
      "550 5.7.1 Message refused by recipient's rules",
    ],
    { scope: 'recipient' },
  ),
  general(
    'local-only',
    'relay-denied',
    /\blocal users? only\b|\bonly local (?:users?|recipients?|domains?)\b/,
    HMAIL,
    '550 Requested action not taken: Local user only',
  ),
]

const senders = [
  general(
    'callout-sender-lines',
    'sender-rejected',
    /\bcallback setup failed\b|\bcould not connect to \S{1,80}[^;]{0,80}\bsender verify\b/,
    EXIM,
    [
      '550-Callback setup failed while verifying <b@example.org>\n550-Called: 192.0.2.4\n550 Sender verify failed',
      '451-could not connect to mail.example.org [192.0.2.4]: Connection timed out\n451 Could not complete sender verify callout',
    ],
  ),
  general(
    'sender-no-records',
    'sender-rejected',
    /\bsender has no (?:a|mx|aaaa|dns|valid)\b|\binvalid dns mx or\b|\bsender'?s? (?:\w{1,10} )?domain (?:\w{1,8} ){0,3}(?:has no|without|lacks) /,
    EXIM,
    [
      '550-Sender has no A, AAAA, or MX DNS records. host7.example.com',
      '550-Requested action not taken: mailbox unavailable\n550 invalid DNS MX or A/AAAA resource record',
    ],
  ),
]

/** Asked before all but internationalised addresses. */
export const stated = [...expired, ...servers, ...limits, ...accounts, ...standing, ...messages, ...senders]

/** Asked after the rules about names of hosts, before those about routes. */
export const senderAtMail = [
  general(
    'sender-name-at-mail',
    'sender-rejected',
    /^\S{3,80} does(?: not|n't) exist\b|\b(?:domain|host)\b[^;]{0,50}\b(?:not found|does(?: not|n't) (?:exist|resolve)|unresolvable|no mx|unknown|invalid|cannot be resolved|could not be resolved)\b|\bno such domain\b|\bsender (?:address )?(?:is )?malformed\b/,
    POSTFIX,
    ['553 news.example.jp does not exist', '517-Domain does not exist: news.example.invalid.'],
    { phase: 'mail' },
  ),
]

/** Asked after the rules about reverse names. */
export const resolving = [
  general(
    'resolving-failed',
    'dns',
    /\b(?:failure|failed|error|problem|trouble|unable) (?:in |while |when |to |with )?(?:resolving|resolve|looking up|name resolution)\b(?! (?:your|client|the client|ip|ptr))/,
    POSTFIX,
    "451 4.4.4 Temporary failure resolving the recipient domain's MX",
    { scope: 'recipient' },
  ),
]
