// Outlook.com, Exchange Online and Microsoft 365 submission: one code base, three kinds of hosts.

import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const CONSUMER = 'https://sendersupport.olc.protection.outlook.com/pm/troubleshooting'
const NDR =
  'https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online/non-delivery-reports-in-exchange-online'
const consumer = sourced('Outlook.com postmaster, troubleshooting', READ, CONSUMER)
const ndr = sourced('Email non-delivery reports in Exchange Online, learn.microsoft.com', READ, NDR)
const DELIST = 'https://sender.office.com/'

const rules: readonly ReplyRule[] = [
  consumer(
    'outlook-rp',
    'rate-limit',
    /\bRP-00\d\b/,
    "421 RP-001 (BAY004-MC1F1) Unfortunately, some messages from 192.0.2.1 weren't sent. Please try again. We have limits for how many messages can be sent per hour and per day.",
    { retryAfter: '15m' },
  ),
  consumer(
    'outlook-ip-rate-limited',
    'reputation-ip',
    /temporarily rate limited due to IP reputation/i,
    '451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)',
    { retryAfter: '15m' },
  ),
  consumer(
    'outlook-connections',
    'concurrency',
    /exceeded the maximum number of connections/i,
    '451 4.7.652 The mail server [192.0.2.1] has exceeded the maximum number of connections. (S3115)',
  ),
  consumer(
    'outlook-messages-per-connection',
    'connection-recycle',
    /exceeded (?:the )?maximum number of messages per connection/i,
    '421 4.3.2 The mail server [192.0.2.1] has exceeded maximum number of messages per connection.',
  ),
  consumer(
    'outlook-block-list',
    'blocklist',
    /on our block ?list/i,
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
  ),
  consumer(
    'outlook-dynamic',
    'reputation-ip',
    /\bDY-00\d\b/,
    "550 DY-001 Mail rejected by Outlook.com for policy reasons. We generally do not accept email from dynamic IP's",
  ),
  consumer(
    'outlook-sc',
    'reputation-ip',
    /\bSC-00[1-4]\b/,
    '550 SC-002 (COL004-MC1F1) Mail rejected by Outlook.com for policy reasons. The mail server IP connecting to Outlook.com has exhibited namespace mining behavior.',
  ),
  consumer(
    'outlook-ou',
    'reputation-ip',
    /\bOU-00[12]\b/,
    '550 OU-001 (BAY0-MC1) Mail rejected by Outlook.com for policy reasons. Reasons for rejection may be related to content with spam-like characteristics or IP/domain reputation problems.',
  ),
  ndr(
    'exo-server-busy',
    'rate-limit',
    /(?:server busy|access denied)[.,] ?please try again later/i,
    '451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712344) [AM5EUR02FT019.eop-EUR02.prod.protection.outlook.com]',
    { code: '4xx', enhanced: '4.7.*', retryAfter: '15m' },
  ),
  ndr(
    'exo-ipv6-limits',
    'rate-limit',
    /has exceeded permitted limits within/i,
    '550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits within 2001:db8::/64 range',
  ),
  ndr(
    'exo-banned-ip',
    'blocklist',
    /access denied, banned send(?:ing IP|er)/i,
    '550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/',
    { url: DELIST },
  ),
  ndr(
    'exo-rejected-by-recipient',
    'policy-other',
    /access denied, rejected by recipient/i,
    '550 5.7.507 Access denied, rejected by recipient',
    { scope: 'recipient' },
  ),
  ndr(
    'exo-banned-recipient',
    'recipient-disabled',
    /access denied, banned recipient/i,
    '550 5.7.505 Access denied, banned recipient',
  ),
  ndr(
    'exo-customer-block',
    'blocklist',
    /using customer block ?list/i,
    '550 5.7.513 Service unavailable, Client host [192.0.2.1] blocked by contoso.com using Customer Block list (AS16012607)',
  ),
  ndr(
    'exo-no-recipient',
    'recipient-unknown',
    /recipient address(?:es)? rejected ?: access denied/i,
    '550 5.4.1 [a@example.com]: Recipient address rejected: Access denied [example.com]',
  ),
  ndr(
    'exo-spam-abuse',
    'policy-other',
    /access denied, spam abuse detected|bad outbound sender/i,
    '550 5.1.8 Access denied, bad outbound sender. AS(9360)',
    { scope: 'sender' },
  ),
  ndr(
    'exo-unregistered',
    'sender-rejected',
    /sending from unregistered domains/i,
    '550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains.',
    { scope: 'sender' },
  ),
  ndr(
    'exo-tenant-threshold',
    'quota-sender',
    /tenant has exceeded threshold/i,
    '550 5.7.705 Access denied, tenant has exceeded threshold',
    { scope: 'sender' },
  ),
  ndr(
    'exo-traffic',
    'reputation-ip',
    /traffic not accepted from this IP/i,
    '550 5.7.703 Access denied, traffic not accepted from this IP',
    {},
  ),
  ndr(
    'exo-recipient-hour',
    'recipient-rate',
    /limit for the number of messages they can (?:send to this recipient|receive) per hour|per hour message receive limit/i,
    "550 5.2.121 Recipient's per hour message receive limit from specific sender exceeded.",
  ),
  ndr(
    'exo-recipient-threads',
    'recipient-rate',
    /recipient thread limit exceeded/i,
    '432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded',
    {},
  ),
  ndr(
    'exo-queue-quota',
    'recipient-rate',
    /organization queue quota exceeded/i,
    '450 4.7.3 Organization queue quota exceeded. [outlook.com]',
  ),
  ndr(
    'exo-sender-threads',
    'concurrency',
    /sender thread limit exceeded|concurrent connections/i,
    ['432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=AM0PR01.exchangelabs.com]'],
    { code: [432], scope: 'sender', url: 'https://aka.ms/concurrent_sending' },
  ),
  ndr(
    'exo-forest-connections',
    'concurrency',
    /concurrent connections per resource forest/i,
    '421 4.3.2 The maximum number of concurrent connections per resource forest has exceeded a limit, closing transmission channel. example.com. PRX8 [example.com]',
    {},
  ),
  ndr(
    'exo-submission-quota',
    'quota-sender',
    /submission ?quota ?exceeded|daily limit for message recipients|recipient rate limit/i,
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    { scope: 'sender', persistence: 'transient' },
  ),
  ndr(
    'exo-mailbox-full',
    'mailbox-full',
    /QuotaExceeded/,
    '554 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; Failed to process message due to a permanent exception',
  ),
  ndr(
    'exo-send-as',
    'sender-rejected',
    /SendAsDenied/,
    '554 5.2.252 SendAsDenied; a@example.com not allowed to send as b@example.com; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied',
    { scope: 'sender' },
  ),
  ndr(
    'exo-restricted-group',
    'policy-other',
    /RESOLVER\.RST\.(?!RecipSize|SendSize)|not in (?:the )?allowed-senders|sender (?:was )?not authenticated/i,
    '550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed',
    { scope: 'recipient' },
  ),
  ndr(
    'exo-transport-rule',
    'policy-other',
    /TRANSPORT\.RULES\.|organization policy/i,
    '550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy',
    { scope: 'message' },
  ),
  ndr(
    'exo-loop',
    'dns',
    /hop count exceeded|\bATTR3[45]\b|wrong Office 365 region/i,
    '554 5.4.14 Hop count exceeded - possible mail loop ATTR34',
    { scope: 'recipient' },
  ),
  ndr(
    'exo-no-mailboxes',
    'recipient-disabled',
    /no mail-enabled subscriptions/i,
    '451 4.4.4 Mail received as unauthenticated, incoming to a recipient domain configured in a hosted tenant which has no mail-enabled subscriptions. ATTR5',
    {},
  ),
  ndr(
    'exo-tenant-attribution',
    'relay-denied',
    /TenantAttribution/,
    '550 5.7.64 TenantAttribution; Relay Access Denied',
  ),
  ndr(
    'exo-connection-refused',
    'network',
    /\[Message=Socket error code|SuspiciousRemoteServerError/,
    '450 4.4.316 Connection refused [Message=Socket error code 10061]',
    {},
  ),
  ndr(
    'exo-replication',
    'server-busy',
    /failed to be replicated/i,
    '451 4.4.0 Message failed to be replicated: No healthy secondary server available to accept replica at this time. [outlook.com]',
    {},
  ),
  ndr(
    'exo-dns-missing',
    'dns',
    /DNS domain \S{1,80} does not exist|nonexistent domain/i,
    '550 5.4.310 DNS domain example.com does not exist',
    { scope: 'recipient' },
  ),
  ndr(
    'exo-tls-destination',
    'tls-required',
    /starttls-not-supported|certificate-expired|tlsa-invalid|dnssec-invalid|certificate-host-mismatch|starttls is required/i,
    '450 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive mail.',
    {},
  ),
  ndr(
    'exo-policy-content',
    'content',
    /policy violation detected|x-dg-ref header/i,
    '550 5.0.350 Remote server returned an error -> 550 Requested action not taken: policy violation detected (AS345)',
    {},
  ),
]

export const outlook: ProviderPolicy = {
  name: 'outlook',
  domains: [
    'outlook.com', 'hotmail.com', 'live.com', 'msn.com', 'passport.com', 'windowslive.com',
    'hotmail.co.uk', 'hotmail.fr', 'hotmail.de', 'hotmail.it', 'hotmail.es', 'hotmail.be', 'hotmail.nl', 'hotmail.ca', 'hotmail.com.br', 'hotmail.com.ar', 'hotmail.co.jp', 'hotmail.com.tr', 'hotmail.se', 'hotmail.no', 'hotmail.dk', 'hotmail.ch', 'hotmail.gr', 'hotmail.com.au', 'hotmail.cl', 'hotmail.co.th', 'hotmail.co.nz', 'hotmail.at', 'hotmail.fi',
    'live.co.uk', 'live.fr', 'live.de', 'live.it', 'live.nl', 'live.be', 'live.ca', 'live.com.au', 'live.com.mx', 'live.se', 'live.no', 'live.dk', 'live.ie', 'live.at', 'live.com.pt', 'live.com.ar', 'live.cl', 'live.cn', 'live.jp', 'live.ru', 'live.in', 'live.hk', 'live.com.sg', 'live.co.za',
    'outlook.fr', 'outlook.de', 'outlook.es', 'outlook.it', 'outlook.jp', 'outlook.com.br', 'outlook.com.ar', 'outlook.com.au', 'outlook.com.tr', 'outlook.be', 'outlook.at', 'outlook.cl', 'outlook.cz', 'outlook.dk', 'outlook.ie', 'outlook.in', 'outlook.kr', 'outlook.pt', 'outlook.sa', 'outlook.sg', 'outlook.co.id', 'outlook.co.il', 'outlook.co.th', 'outlook.com.gr', 'outlook.com.vn', 'outlook.hu', 'outlook.lv', 'outlook.my', 'outlook.ph', 'outlook.sk',
  ], // biome-ignore format: a list of names
  mx: ['*.olc.protection.outlook.com', '*.hotmail.com'],
  marks: [
    /\bpostmaster\.live\.com|\bmail\.live\.com|\.olc\.protection\.outlook\.com/,
    /\b(?:RP|SC|OU|DY)-00\d\b/,
  ],
  url: CONSUMER,
  lane: 'outlook',
  concurrency: 5,
  messagesPerConnection: 50,
  source: SHAPING,
  date: READ,
  rules,
}

export const exchangeOnline: ProviderPolicy = {
  name: 'exchange-online',
  mx: ['*.mail.protection.outlook.com', '*.mx.microsoft'],
  marks: [
    /\.prod\.(?:protection\.)?outlook\.com\b/i,
    /\bAS\(?\d{3,11}\)?\b/,
    /\bATTR\d{1,2}\b|\bPRX\d\b/,
    /\bSTOREDRV\.|\bRESOLVER\.|\bTenantAttribution/,
    /\baccess denied, (?:banned|rejected by recipient|spam abuse|tenant has|traffic not|sending domain|please try again)|\bblocked from sending from unregistered domains|\bDNS domain \S{1,80} does not exist/i,
    /\baka\.ms\/|\bgo\.microsoft\.com\/fwlink/,
  ],
  url: NDR,
  concurrency: 5,
  messagesPerConnection: 50,
  source: SHAPING,
  date: READ,
  rules,
}

export const office365Submission: ProviderPolicy = {
  name: 'office365-submission',
  mx: ['smtp.office365.com', 'smtp-mail.outlook.com', 'smtp.outlook.com', 'smtp-legacy.office365.com'],
  marks: [/\bSTOREDRV\.(?:ClientSubmit|Submission)|\bSmtpClientAuthentication/],
  role: 'submission',
  url: 'https://learn.microsoft.com/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365',
  rate: '30/min',
  caps: '10000/d',
  concurrency: 3,
  source:
    'Exchange Online limits, learn.microsoft.com: 30 messages a minute, 3 concurrent connections, 10,000 recipients a day',
  date: READ,
  rules,
}
