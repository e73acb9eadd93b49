// Stated reasons about machines and volume: mail that expired and why, servers that are busy, limits with a window.
// Asked before other general rules, as a part of stated.ts. Not here: reasons about accounts, standing and addresses.

import { BOUNCES, EXCHANGE, EXIM, FILTERS, general, HOSTERS, MANUAL, RFC } from './rule.ts'

/** A server that gave up tells why in the same line; the last word counts, and the message is gone. */
export const expired = [
  general(
    'expired-network',
    'network',
    /\bmessage expired\b[^;]{0,80}\b(?:connection (?:refused|timed out|reset|dropped)|cannot connect|socket error|unreachable|cannot establish)/,
    EXCHANGE,
    '550 5.4.316 Message expired, connection refused(Socket error code 10061) [DB8EUR05FT048.eop-eur05.prod.protection.outlook.com]',
    { code: '5xx', persistence: 'permanent' },
  ),
  general(
    'expired-dns',
    'dns',
    /\bmessage expired\b[^;]{0,60}\bdns\b/,
    EXCHANGE,
    '550 5.4.312 Message expired, DNS query failed(ErrorTimeout)',
    { code: '5xx', persistence: 'permanent', scope: 'recipient' },
  ),
  general(
    'expired-greylist',
    'greylist',
    /\bmessage expired\b[^;]{0,80}\bgr[ae]y ?list/,
    EXCHANGE,
    '550 5.4.300 Message expired -> 451 4.7.1 Greylisting in action, please come back later',
    { code: '5xx', persistence: 'permanent' },
  ),
]

export const servers = [
  general(
    'busy-because',
    'server-busy',
    /\bbecause (?:the |this |our )?(?:server|system|service|host|we) (?:is|are) (?:\w{1,12} )?(?:busy|overloaded|unavailable|down)\b|\bserver is too busy\b|\bmail server is busy\b/,
    HOSTERS,
    '451 ESMTP MailEnable Service temporarily refused connection at 11/27/15 11:25:27 from IP (192.0.2.1) because the server is too busy.',
  ),
  general(
    'disk-server',
    'server-busy',
    /\bdisk space (?:on|at|in) (?:\w{1,12} ){0,3}(?:server|system|host|spool|queue|partition)\b|\blow (?:on )?disk space\b|\b(?:spool|queue|server|system|partition|filesystem) (?:\w{1,10} ){0,2}(?:out of|low on|no|insufficient) (?:disk |free )?space\b|\bused ?disk ?space\b/,
    RFC,
    [
      '431 4.3.1 Not enough disk space on the receiving server',
      '452 4.3.1 Mail size limit exceeded due to low disk space',
    ],
  ),
  general(
    'mailbox-in-use',
    'server-busy',
    /\blocked by (?:another|an other|other) |\b(?:used|accessed|opened|in use) by (?:another|an other) |\b(?:mailbox|maildrop|mbox|spool) (?:is )?(?:lock busy|in use)\b/,
    MANUAL,
    '450 4.2.0 Mailbox locked by another process, try later',
    { code: '4xx', scope: 'recipient' },
  ),
  general(
    'scanner-ill',
    'server-busy',
    /\b(?:clamav|clamd|clamav-milter|spamd|spamassassin|rspamd|milter|scanner|antivirus|anti-virus|virus scan\w{0,4}|spam scan\w{0,4}|content scan\w{0,4}|amavisd?)\b(?: \w{1,12}){0,4} (?:unreachable|unavailable|not available|not responding|timed out|timeout|failed|failure|error|down|unable)\b|\berror in processing\b[^;]{0,20}\bid=|\bmime_decode failed|\bdied at \/|\bvirus checks? (?:error|failed)/,
    FILTERS,
    [
      '451 4.3.2 SMTP service is not available: ClamAV clamd unreachable',
      '451 4.5.0 Error in processing, id=12345-06, mime_decode FAILED: Died at /usr/sbin/amavisd',
    ],
    { code: '4xx' },
  ),
  general(
    'errors-this-connection',
    'protocol',
    /\btoo many errors (?:on|in|during|for|within) (?:this|the|your|one|a) (?:smtp )?(?:connection|session)\b|\btoo many errors after\b/,
    BOUNCES,
    [
      '421 4.7.0 Too many errors on this connection, closing transmission channel',
      '421 4.7.0 Error: too many errors after RCPT from unknown[192.0.2.9]',
    ],
  ),
  general(
    'greylistd-not-yet',
    'greylist',
    /\bnot (?:yet )?(?:been )?authori[sz]ed to deliver (?:mail|messages?|e-?mail) from\b|\bfirst (?:time|attempt|delivery)[a-z ,]{0,30}\b(?:deferred|delayed|retry|try again)/,
    EXIM,
    '451-192.0.2.8 is not yet authorized to deliver mail from <a@example.org> to <b@example.net>. Please try later.',
    { code: '4xx' },
  ),
  general(
    'session-messages-limit',
    'connection-recycle',
    /\bsession (?:\w{1,10} ){1,2}limit \W?\d{0,6}\W?\s?(?:reached|exceeded)|\bmessages? (?:sent )?in one session\b|\bmessages? \W?\d{1,6}\W? (?:for|per|in|on) this (?:connection|session)\b|\breconnect please\b/,
    BOUNCES,
    [
      '421 4.7.0 Session message limit (50) reached, bye',
      '421 4.7.0 Too many messages sent in one session',
      '421 4.7.0 Max messages (20) for this connection reached, reconnect please',
    ],
  ),
]

export const limits = [
  general(
    'rate-exim',
    'rate-limit',
    /\bsender rate (?:overlimit|\d)|\brate (?:of )?\S{1,12} ?\/ ?\d{1,4}[smhd]\b/,
    EXIM,
    '450 Sender rate 131.9 / 1h exceeds limit 100',
  ),
  general(
    'rate-short-window',
    'rate-limit',
    /\b(?:messages?|mails?|e-?mails?|requests?|transactions?|submissions?) per (?:second|sec|minute|min)\b(?! (?:to|for) (?:this|the|that|a) (?:recipient|user|mailbox))/,
    HOSTERS,
    '452 4.4.5 Messages per second limit exceeded',
  ),
  general(
    'quota-window',
    'quota-sender',
    /\b(?:exceed\w{0,3}|reached|over|hit) (?:\w{1,10} ){0,2}(?:hour|day|month|week)(?:'s)? (?:\w{1,10} )?(?:limit|quota|allowance)\b|\b(?:only|limited to) \d{1,7} (?:messages?|mails?|e-?mails?) (?:\w{1,10} ){0,2}(?:per|an?|each|every) (?:hour|day|month|week|24)\b(?![^;]{0,40}\b(?:ip|ipaddr|host|recipient|mailbox)\b)|\b(?:monthly|daily|hourly) (?:\w{1,10} ){0,3}(?:used up|exhausted|depleted|consumed)\b|\bupgrade your (?:plan|account|subscription)\b|\blimited to \d{1,7} (?:per|an|each) (?:hour|day|month)\b/,
    HOSTERS,
    [
      '550 send spam mail rejected: exceeded hour limit',
      '550 Monthly sending volume used up. Upgrade your plan.',
      '550 5.7.1 <DATA>: Data command rejected: only 10 messages per day',
    ],
  ),
  general(
    'rate-warmup',
    'rate-limit',
    /\bwarm-?up (?:\w{1,10} ){0,2}(?:limit|quota|volume|cap)\b/,
    HOSTERS,
    '550 5.7.1 IP warm-up limit exceeded, try tomorrow',
  ),
  general(
    'quota-policy',
    'quota-sender',
    /\bsender address rejected:[^;]{0,40}\b(?:quota|limit) (?:has been )?exceeded|\bquota for (?:the |your )?sender\b|\b(?:outbound|outgoing) (?:\w{1,10} )?limit (?:hit|reached|exceeded|used)\b|\bpolicy rejection\W{1,3}(?:\w{1,10} ){0,2}quota exceeded/,
    HOSTERS,
    [
      '450 4.7.1 <a@example.org>: Sender address rejected: Policy Rejection- Quota exceeded',
      '550 Outbound limit hit for user web42',
    ],
  ),
  general(
    'rcpts-over',
    'too-many-recipients',
    /\bnumber of rcpts?\b|\brcpts? (?:is |are )?over\b|\btoo many rcpt to\b/,
    HOSTERS,
    '556 The number of RCPTs is over size',
  ),
]
