// GMX, WEB.DE and mail.com, and IONOS, which runs the same mail system. They count a sender's retries against its rate.

import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const URL = 'https://postmaster.gmx.net/en/error-messages'
const rule = sourced('GMX and WEB.DE postmaster, error messages', READ, URL)

const rules: readonly ReplyRule[] = [
  rule(
    'gmx-too-many',
    'rate-limit',
    /too many messages have been received|reduce the sending rate/i,
    '421 web.de (mxweb113) Nemesis ESMTP Service not available Service unavailable Reject due to policy restrictions Too many messages have been received in a short period of time.',
    { retryAfter: '2h' },
  ),
  rule(
    'gmx-connections',
    'concurrency',
    /too many connections/i,
    '421 gmx.net (mxgmx115) Nemesis ESMTP Service not available Service unavailable Too many connections',
  ),
  rule(
    'gmx-listed',
    'blocklist',
    /IP address is (?:block|black) ?listed/i,
    '554-gmx.net (mxgmx104) Nemesis ESMTP Service not available\n554-No SMTP service\n554-IP address is block listed.\n554 For explanation visit https://postmaster.gmx.net/en/case?c=r0201',
  ),
  rule(
    'gmx-ptr',
    'reverse-dns',
    /bad DNS PTR|PTR resource record/i,
    '554-gmx.net (mxgmx017) Nemesis ESMTP Service not available\n554-No SMTP service\n554-Bad DNS PTR resource record.\n554 For explanation visit http://postmaster.gmx.com/en/error-messages',
  ),
  rule(
    'gmx-spf',
    'authentication',
    /\bSPF\b|\bDKIM\b|\bDMARC\b|not permitted by the domain owner/i,
    '550 <a@example.com>: Reject due to SPF policy. The originating IP of the message is not permitted by the domain owner',
  ),
  rule(
    'gmx-sender',
    'sender-rejected',
    /invalid sender|sender domain|sender address|invalid DNS (?:MX|A)\b/i,
    '501 Syntax error in parameters or arguments Invalid sender domain',
  ),
  rule(
    'gmx-violations',
    'reputation-ip',
    /reject due to policy violations/i,
    '421 Reject due to policy violations',
    { scope: 'lane', retryAfter: '1h' },
  ),
  rule(
    'gmx-restrictions-message',
    'policy-other',
    /reject due to policy restrictions/i,
    '554-Transaction failed\n554-Reject due to policy restrictions.\n554 For explanation visit https://postmaster.gmx.net/en/error-messages?c=hi',
    { phase: ['dot', 'data'], scope: 'message' },
  ),
  rule(
    'gmx-restrictions-greeting',
    'reputation-ip',
    /reject due to policy restrictions/i,
    '554-gmx.net (mxgmx016) Nemesis ESMTP Service not available\n554-No SMTP service\n554-Reject due to policy restrictions.\n554 For explanation visit https://postmaster.gmx.net/en/case?c=hi',
    { code: 554 },
  ),
  rule(
    'gmx-restrictions',
    'policy-other',
    /reject due to policy restrictions/i,
    '550-Requested action not taken: mailbox unavailable\n550-Reject due to policy restrictions.\n550 For explanation visit http://postmaster.1and1.com/en/error-messages?c=poli',
    { scope: 'lane' },
  ),
  rule(
    'gmx-quota',
    'mailbox-full',
    /quota exceeded/i,
    '552 Requested mail action aborted: exceeded storage allocation Quota exceeded.',
  ),
  rule(
    'gmx-size',
    'message-too-large',
    /message size|exceeded storage allocation/i,
    '552-Requested mail action aborted: exceeded storage allocation\n552 For explanation visit http://postmaster.gmx.com/en/error-messages',
    {},
  ),
  rule(
    'gmx-unavailable',
    'recipient-unknown',
    /mailbox unavailable/i,
    '550 Requested action not taken: mailbox unavailable',
    { code: 550 },
  ),
]

export const gmx: ProviderPolicy = {
  name: 'gmx-webde',
  domains: [
    'gmx.de', 'gmx.net', 'gmx.at', 'gmx.ch', 'gmx.com', 'gmx.us', 'gmx.co.uk', 'gmx.fr', 'gmx.es', 'gmx.li', 'gmx.info', 'gmx.org', 'gmx.eu', 'gmx.biz', 'web.de', 'mail.com', 'email.com', 'usa.com', 'post.com', 'europe.com', 'asia.com', 'iname.com', 'writeme.com', 'dr.com', 'engineer.com', 'cheerful.com', 'accountant.com', 'techie.com', 'consultant.com', 'myself.com', 'caramail.com',
  ], // biome-ignore format: a list of names
  mx: ['*.gmx.net', '*.web.de', '*.mail.com', '*.gmx.com'],
  marks: [/Nemesis ESMTP/, /\bpostmaster\.(?:gmx|web|mail)\.(?:net|com|de)/],
  url: URL,
  lane: 'gmx',
  concurrency: 4,
  messagesPerConnection: 20,
  source: SHAPING,
  date: READ,
  rules,
}

export const ionos: ProviderPolicy = {
  name: 'ionos',
  mx: [
    '*.kundenserver.de',
    '*.ionos.de',
    '*.ionos.com',
    '*.ionos.es',
    '*.ionos.fr',
    '*.ionos.co.uk',
    '*.ionos.it',
    '*.1and1.com',
    '*.1and1.es',
    '*.1and1.fr',
    '*.1and1.co.uk',
    '*.perfora.net',
  ],
  marks: [/\bpostmaster\.(?:1and1|1und1|ionos)\./, /\bkundenserver\.de\b/],
  url: 'https://www.ionos.com/help/email/postmaster/',
  concurrency: 4,
  messagesPerConnection: 20,
  source: SHAPING,
  date: READ,
  rules,
}

export const ionosSubmission: ProviderPolicy = {
  name: 'ionos-submission',
  mx: [
    'smtp.ionos.com',
    'smtp.ionos.de',
    'smtp.ionos.co.uk',
    'smtp.ionos.es',
    'smtp.ionos.fr',
    'smtp.ionos.it',
    'smtp.1und1.de',
    'smtp.1and1.com',
    'smtp.kundenserver.de',
    'mail.gmx.net',
    'mail.gmx.com',
    'smtp.web.de',
    'smtp.mail.com',
  ],
  role: 'submission',
  url: 'https://www.ionos.com/help/email/',
}
