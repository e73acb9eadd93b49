// General rules about how much and how fast: too many recipients, sessions, messages; quotas; greylisting.
// The order counts: what is named more closely comes first.

import { BOUNCES, EXCHANGE, EXIM, general, HOSTERS, MANUAL, POSTFIX, RFC } from './rule.ts'

export const greylisting = [
  general('greylisted', 'greylist', /\bgrey[ -]?list|\bgray[ -]?list/, MANUAL, [
    '450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.com.html',
    '451 4.7.1 Greylisting in action, please come back later',
  ]),
  general(
    'greylist-rbl',
    'greylist',
    /\bgrey\.rbl\b|\bgraue liste|\blista gris|\bliste grise|\bszar[ae] list/,
    BOUNCES,
    '421 4.7.1 Service unavailable; Client host [192.0.2.1] blocked using grey.rbl - Rechazo temporal, intentelo mas tarde',
  ),
  general(
    'greylist-first-contact',
    'greylist',
    /\b(?:first (?:time|contact|attempt|delivery)|never (?:seen|heard)|not (?:yet )?(?:been )?seen|unknown|new) (?:of )?(?:this )?(?:triplet|sender-recipient|from this server|before)|\btriplet\b|\bnot yet known\b|\bnever sent (?:us )?(?:mail|e-?mail|messages?|any)\b/,
    BOUNCES,
    '451 4.7.1 Temporarily rejected: unknown triplet, please retry',
    { code: '4xx' },
  ),
]

export const perSession = [
  general(
    'expired-in-queue',
    'unknown',
    /\bmessage (?:timeout|expired)|\b(?:delivery|retry|queue) (?:time|timeout) (?:expired|exceeded)|\bretry timeout exceeded|\b(?:has been|too long) in the queue|\bin (?:the )?queue too long|\bmessage (?:has )?(?:exceeded|expired)[a-z ]{0,30}(?:queue|ttl|lifetime)|\bmessage could not be delivered (?:within|for) \d/,
    RFC,
    ['554 5.4.7 [internal] message timeout'],
    { scope: 'message' },
  ),
  general(
    'expired-delivery',
    'unknown',
    /^delivery expired|\bqueue\.expired|\bmessage too old\b/,
    EXCHANGE,
    '550 4.4.7 QUEUE.Expired; the message was in the queue for too long',
    { scope: 'message' },
  ),
  general(
    'recipients-invalid-many',
    'reputation-ip',
    /\btoo many (?:\w{1,20} )?(?:invalid|unknown|bad|non-existent|nonexistent|wrong|failed|incorrect) (?:\w{1,20} )?(?:recipients?|rcpts?|users?|addresses|mailboxes)|\b(?:high|excessive) (?:number|rate|amount|volume) of (?:invalid|unknown|bad|non-existent|nonexistent) (?:recipients?|users?)|\bharvest(?:ing)? attack|\bdirectory harvest/,
    BOUNCES,
    [
      '550 Too many invalid recipients',
      '421 4.7.1 Dictionary or directory harvest attack detected, connection refused',
    ],
  ),
  general(
    'recipients-per-message',
    'too-many-recipients',
    /\b(?:too many |maximum (?:number of )?|max (?:number of )?|max\. |limit(?:ed)? (?:of |on )?(?:number of )?|exceed(?:s|ed)? (?:the )?(?:maximum )?(?:number of )?|more than \d{1,6} )(?:\w{1,12} ){0,2}(?:recipients?|rcpts?|destinataires|empfanger|destinatarios|destinatari|receivers)\b(?! (?:has|have) (?:sent|been))(?! from (?:\w{1,8} )?ip)(?!(?: \w{1,10}){0,2} (?:hour|day|hourly|daily|minute)\b)/,
    POSTFIX,
    [
      '452 4.5.3 Error: too many recipients',
      '552 Too many recipients',
      '452 Too many recipients received this session',
    ],
  ),
  general(
    'recipients-domain-transaction',
    'too-many-recipients',
    /\bmultiple (?:destination )?domains per transaction|\b(?:domain policy size|recipient limit|recipient count) (?:per transaction )?exceed|\bone recipient (?:at a time|per|only)|\bonly (?:one|1|a single) recipient|\bsplit (?:the|your) message|\bout of allow rcpt|\brecipients? (?:count|number|limit) (?:per message )?(?:is )?(?:exceed|reached|too)|\btoo much recipients|\bresend (?:the|your) message to (?:the )?remaining|\bmail(?:ing)? to (?:the )?(?:rest|remaining) recipients|\bseparate transaction|\bzu viele empfanger/,
    BOUNCES,
    [
      '451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.',
      '452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.',
    ],
  ),
  general(
    'messages-per-session',
    'connection-recycle',
    /\b(?:too many|(?:maximum|max)(?: number of| amount of)?|limit of|number of|exceeded|\d{1,6}) (?:\w{1,12} ){0,2}(?:messages?|mails?|e-mails?|emails?|transactions?|deliveries|envelopes|data commands?)\W{1,3}(?:\w{1,12} ){0,2}(?:per|in|for|on|within|this|a|one|during) (?:this |the |a |one |single |an |same )?(?:smtp )?(?:connection|session|transmission channel)/,
    EXIM,
    [
      '421 too many messages in this connection',
      '421 Max message per connection reached, closing transmission channel',
      '452 4.3.2 Maximum number of messages per session exceeded',
    ],
  ),
  general(
    'session-limit',
    'connection-recycle',
    /\b(?:session|connection) (?:limit|quota)[a-z ]{0,24}(?:messages|mails|emails)|\bopen a new (?:session|connection)|\b(?:messages|mails?|emails?) per (?:connection|session)|\bmessage limit (?:per|for this) (?:connection|session)|\bsession (?:message )?limit (?:exceeded|reached)\b|\bbatch limit reached/,
    BOUNCES,
    ['452 4.5.3 Service unavailable, batch limit reached'],
  ),
  general(
    'session-expired',
    'connection-recycle',
    /\bconnection (?:has )?expired|\btry reconnecting|\b(?:idle|inactiv\w{1,5}|command|session|connection|data|read|input|smtp)[ -]?(?:time[ -]?out|timed[ -]?out|time exceeded|time limit|for too long|too long)|^timeout\b|\btime[ -]?out (?:exceeded|waiting|while waiting|reading|- closing|, closing|closing|after)|\btimeout\W{1,3}closing|\bclosing (?:idle|inactive)|\btoo (?:long|slow|much time)(?: without| between| in)?[a-z ]{0,20}(?:connection|session|data|command|input)|\b(?:session|connection) (?:is |was |has been )?(?:too long|open too long|closed due to (?:inactivity|timeout))|\bauto-?logout|\bsession (?:has )?(?:expired|exceeded)/,
    POSTFIX,
    [
      '421 4.4.2 mx.example.org Error: timeout exceeded',
      '421 4.7.0 Connection expired, try reconnecting.',
      '421 4.4.2 Connection timed out. Closing transmission channel.',
      '451 Timeout waiting for client input',
    ],
    { phase: ['greeting', 'ehlo', 'auth', 'mail', 'rcpt', 'data', 'dot', 'idle', 'unknown'] },
  ),
]

const SESSIONS =
  '(?:\\w{1,14} ){0,3}(?:connections?|sessions?|connexions|verbindungen|conexiones|conexoes|connessioni|polaczen|threads|smtp processes|clients)'

export const concurrent = [
  general(
    'connection-rate',
    'rate-limit',
    /\bconnection (?:rate|frequency)|\btoo many new (?:tls )?(?:sessions|connections)|\b(?:connections?|connects?|sessions) (?:from (?:your |this )?(?:host|ip|client|address|ipaddr) )?(?:too (?:often|fast|frequent\w{0,2})|per (?:hour|minute|second|day|interval|time)|in (?:the )?(?:last|past)|within)|\b(?:connecting|connect|reconnect\w{0,3}) too (?:often|fast|frequently|quickly)|\btoo (?:many|frequent) connections? (?:\w{1,10} ){0,3}(?:per|in|within) (?:the )?(?:last |past |an? |one |\d{1,4} )?(?:hour|minute|second|day|interval|short)|\btoo frequent (?:connect|session)|\brate of connections?/,
    POSTFIX,
    [
      '421 4.7.0 mx.example.org Error: too many connections per hour from 192.0.2.1',
      '421 4.3.2 Connection rate limit exceeded.',
      '550 Connection frequency limited',
    ],
  ),
  general(
    'sessions-many',
    'concurrency',
    new RegExp(
      `\\b(?:too many|zu viele|demasiad[ao]s|trop de|muitas|troppe|zbyt (?:wiele|duzo)|excessive(?: number of)?|(?:maximum|max)(?: number of| amount of| allowed)?|limit (?:of|on|for)|number of|exceeded (?:the )?(?:max\\w{0,5} )?(?:number of )?|more than \\d{1,6}) ${SESSIONS}\\b`,
    ),
    MANUAL,
    [
      '421 Too many concurrent connections from this client',
      '421 4.7.0 Error: too many connections from 203.0.113.9',
      '421 Connection refused, too many sessions',
      '421 Zu viele gleichzeitige Verbindungen',
    ],
  ),
  general(
    'sessions-concurrent',
    'concurrency',
    /\b(?:concurrent|simultaneous|parallel|concurrency|gleichzeitige|simultanees)\b[a-z ]{0,40}(?:limit|exceed|reach|connection|session|deliver|thread|too|allowed|max)|\bconcurrency\b|\bconnection (?:limit|count|quota) (?:\w{1,12} ){0,4}(?:exceed|reach|hit|per)|\bconnections? (?:limit|limited|exceed\w{0,3}|quota)|\b(?:reduce|lower|limit|decrease) (?:the |your )?(?:number of )?(?:concurrent |simultaneous |parallel )?(?:connections|sessions)|\b(?:already|currently) (?:has |have |open |connected )?\d{1,5} (?:open )?(?:connections|sessions)/,
    EXCHANGE,
    [
      '421 4.4.5 Service unavailable, concurrency limit reached',
      '432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded; concurrent connections',
      '421 Connection limit exceeded',
    ],
  ),
]

export const receiving = [
  general(
    'mailbox-rate',
    'recipient-rate',
    /\b(?:user|recipient|mailbox|account|inbox|address|mailaddr\S{0,2}|they|he|destination)(?:'s)?\b[a-z :;,-]{0,60}\b(?:receiv(?:ing|ed|es?)|getting|accept(?:ing|ed)?) (?:\w{1,12} ){0,3}(?:too (?:quickly|many|much|fast|often|frequently)|at a (?:high )?rate|excessive|exceed)|\breceiving (?:e-mail|email|mail|messages) (?:too|at a rate)|\b(?:recipient|receiver|mailbox|destination|incoming|inbound|receiv(?:ing|e))(?:'s)?(?: domain)?(?: has| is| hourly| daily| message| mail| email| account| address){0,3} (?:exceeded |over |reached )?(?:\w{1,10} ){0,3}(?:rate|hourly|daily|frequency|receiving)[ -]?(?:\w{1,10} ){0,2}(?:limit|quota|exceed)|\brecipients? (?:domain )?(?:hourly |daily )?quota exceeded|\bexceeded (?:their|his|its|the) (?:hourly |daily |receiving |incoming )?(?:limit|quota|rate) (?:for|of|on) (?:the )?(?:number of )?(?:messages|mails?|emails?) (?:they|it|he|that|which|this) (?:can |may )?(?:mailbox |recipient |user )?(?:can )?receiv|\btoo (?:many|much) (?:recent )?(?:messages?|mails?|e-mails?|emails?) (?:\w{1,10} ){0,2}(?:to|for) (?:this|the|that) (?:recipient|user|mailbox|address|account)|\bto this recipient (?:\w{1,10} ){0,3}(?:per|limit|exceed|too)/,
    MANUAL,
    [
      '450 4.2.1 The user you are trying to contact is receiving mail too quickly.',
      '450 4.2.1 The recipient has exceeded message rate limit. Try again later.',
      '554 5.2.122 The recipient has exceeded their limit for the number of messages they can receive per hour.',
    ],
  ),
  general(
    'mailbox-volume',
    'recipient-rate',
    /\bmessages? to <?mailaddr\S{0,2} deferred due to|\b(?:mailbox|recipient|receiver|inbox)\b(?! (?:limit|count|number))[a-z ]{0,30}\b(?:too (?:many|much)|rate[ -]?limit|throttl|flood|message rate|hourly|per hour|list ?bomb)|\bmailaddr\S{0,2} (?:too many recent|has exceeded (?:their|its|the) (?:(?:message )?(?:rate|limit)|message quota))|\borganization queue quota exceeded|\b(?:throttl|rate[ -]?limit)\w{0,5} (?:\w{1,10} ){0,3}(?:for|to) (?:this |the |that )?(?:recipient|mailbox|user)\b|\btenant (?:inbound|receiving|attribution)[a-z ]{0,20}(?:exceed|limit|throttl)|\bto one (?:recipient|mailbox)/,
    MANUAL,
    [
      '421 4.7.1 Messages to a@example.com deferred due to excessive volume. Try again later',

      '450 4.7.3 Organization queue quota exceeded.',
    ],
  ),
]

const WINDOW =
  '(?:an? |per |each |this |the |one |24 |every |last |past |current |in |\\d{1,4} ){0,4}(?:hour|day|minute|24|month|daily|hourly|week)'

export const dailyQuota = [
  general(
    'quota-daily',
    'quota-sender',
    /\b(?:daily|hourly|monthly|weekly)[ -](?:\w{1,12} ){0,4}(?:limits?|quotas?|allowance|maximum|rate exceeded|volume exceeded)\b|\b(?:limits?|quotas?|maximum|max|allowance) (?:\w{1,14} ){0,5}(?:per (?:day|hour|24 hours|month|week)|daily|hourly|today|for today|this (?:day|month|hour)|for the day)|\b(?:max|limit) (?:rcpt to |mail )?(?:daily|hourly) |\b(?:max|limit)\w{0,8} rcpt to daily|\btageslimit|\blimite (?:diario|quotidienne|diaria|journaliere|giornaliero)|\blimit (?:dzienny|dobowy)|\bstundenlimit/,
    HOSTERS,
    [
      '550 5.4.5 Daily user sending limit exceeded.',

      '454 Throttling failure: Daily message quota exceeded',
    ],
  ),
]

export const perAddress = [
  general(
    'rate-per-address',
    'rate-limit',
    /\b(?:limit|limits|quota|maximum|exceeded|too many(?! bounces| errors| spam))\b[^.;]{0,60}\b(?:from|for|by|per|of) (?:your |this |the |sending |source |client ){0,2}(?:ip|ipaddr|ip address|\[ipaddr)\b/,
    HOSTERS,
    [
      '421 4.7.1 Daily message limit exceeded for IP 192.0.2.1',
      '450 4.7.1 Too many mails per hour from 192.0.2.1',
    ],
    { scope: 'lane' },
  ),
]

export const sendingQuota = [
  general(
    'quota-account',
    'quota-sender',
    new RegExp(
      `\\b(?:you|your|user|sender|account|domain|mailbox|the sending|sending|outgoing|outbound|smtp|client|mailaddr\\S{0,2})\\b(?!.{0,160}\\bsizes?\\b)[^.]{0,60}\\b(?:exceed\\w{0,3}|reached|over|hit|used(?: up)?|above|surpass\\w{0,2})\\b[^.]{0,60}\\b(?:hourly|daily|monthly|weekly|${WINDOW}|sending|send|messag\\w{1,5}|e?-?mails?|outgoing|recipients?|submission|relay)\\b[^.]{0,30}\\b(?:limits?|quotas?|allowance|allowed|maximum|cap|credits?)\\b`,
    ),
    HOSTERS,
    ["451 You've exceeded your messaging limits"],
  ),
  general(
    'quota-sending',
    'quota-sender',
    /\b(?:sending|send|sender|submission|outgoing|outbound|relay|relaying|smtp|mail(?:ing)?|messag(?:e|ing)|e-mail|email|account|plan|credit)s?(?:'s)? (?:\w{1,10} ){0,2}(?:quota|limits?|credits?|allowance)\b(?: \w{1,10}){0,3} (?:exceed\w{0,3}|reached|used|over|exhausted|depleted)|\b(?:exceed\w{0,3}|reached|over|exhausted) (?:\w{1,12} ){0,4}(?:sending|send|submission|outgoing|outbound|messaging|relay) (?:\w{1,10} ){0,2}(?:limits?|quota|credits?|allowance)|\byou(?:'ve| have) (?:exceeded|reached|used up) your\b[^.]{0,40}\b(?:quota|limit|allowance)|\bsending limit\b[^.;]{0,40}\b(?:exceeded|reached)\b|\bmaximum credits exceeded|\b(?:out of|no more|not enough|insufficient) (?:\w{1,10} )?credits?|\bsending quota\b|\blimit\b[^.;]{0,40}\boutgoing (?:messages|mails?|e-mails?|emails?)\b|\boutgoing (?:mail|message|e-mail|email)s? (?:limit|quota)|\b(?:versandlimit|sendelimit)|\bcuota de envio|\bquota d'envoi|\blimite d'envoi/,
    HOSTERS,
    [
      '451 Authentication failed: Maximum credits exceeded',
      '550 5.4.5 <a@example.com>: Recipient address rejected: Domain Sending Quota Exceeded',
      '554 Sending limit reached',
    ],
    {},
  ),
]

export const recipientsInTime = [
  general(
    'quota-recipients',
    'quota-sender',
    /\b(?:daily|hourly|monthly) (?:\w{1,10} ){0,3}(?:limit|quota|maximum) (?:\w{1,10} ){0,3}recipients\b|\brcpt(?: to)? (?:daily|hourly)\b/,
    HOSTERS,
    [
      "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
      '550 MAX RCPT TO DAILY LIMIT',
    ],
  ),
  general(
    'recipients-window',
    'rate-limit',
    /\b(?:too many|(?:maximum|max)(?: number of)?|limit of|exceeded) (?!invalid|unknown|bad)(?:\w{1,12} ){0,3}recipients (?:from (?:\w{1,8} )?ip|(?:\w{1,10} ){0,2}(?:per |this |last |an |in )?(?:hour|day|hourly|minute)\b)/,
    POSTFIX,
    ['452 Too many recipients received this hour', '450 4.7.1 Error: too many recipients from 192.0.2.1'],
  ),
]

export const tooFast = [
  general(
    'rate-stated',
    'rate-limit',
    /\brate[ -]?limit|\bratelimit|\bthrottl|\bsending (?:too (?:many|much|fast|quickly)|rate)|\b(?:sent|send|sending|received|receiving|delivered) (?:us )?(?:too (?:many|much)|to many) |\btoo (?:many|much) (?:\w{1,12} ){0,3}(?:messages?|mails?(?! data)|e-mails?|emails?|msgs|traffic|requests?|deliveries|submissions)\b|\b(?:message|mail|e-mail|email|sending|smtp|traffic|submission|delivery|incoming|request)s? (?:rate|frequency|volume|velocity)\b|\bslow(?:ing)? down|\bslowdown|\b(?:excessive|unexpected|unusual|high|abnormal) (?:\w{1,12} )?(?:volume|rate|traffic|frequency|number of (?:messages|mails|emails))|\bvolume (?:limit|exceed)|\bfrequency limited|\bexceed\w{0,3} (?:\w{1,12} ){0,4}(?:rate|frequency|volume|throughput|speed)\b|\b(?:reduce|lower|decrease) (?:the |your )?(?:\w{1,12} )?(?:rate|volume|speed|frequency)|\btoo (?:fast|quickly)\b|\btoo frequent|\bmail rate\b|\bbulk mail (?:limit|exceed)/,
    MANUAL,
    [
      '450 4.7.1 Error: too much mail from 192.0.2.17',
      '421 4.3.1 You send too many messages.',
      '421 4.1.0 192.0.2.4 Throttled - try again later.',
      '550 Sender frequency limited',
    ],
  ),
  general(
    'rate-other-languages',
    'rate-limit',
    /\bzu viele (?:\w{1,14} )?(?:e-mails?|emails?|nachrichten|mails)|\btrop de (?:messages|mails|courriers|requetes)|\bdemasiados (?:mensajes|correos)|\bmuit[ao]s (?:mensagens|e-?mails)|\btroppi (?:messaggi|e-mail|email)|\bzbyt (?:wiele|duzo) (?:wiadomosci|maili)|\blimite de (?:envio|vitesse|taxa)|слишком много|频率|頻率/,
    HOSTERS,
    ['421 Zu viele Nachrichten in kurzer Zeit', '450 Demasiados mensajes, intente mas tarde'],
  ),
  general(
    'rate-window',
    'rate-limit',
    /\b(?:messages|mails?|e-mails?|emails?|recipients) (?:per|in (?:the )?(?:last|past)|within) (?:an? |\d{1,4} |one |the )?(?:hour|minute|second|hours|minutes|seconds)|\bper (?:ip|client|sender|domain) (?:limit|quota)|\b(?:limit|quota|maximum) (?:of )?\d{1,7} (?:messages|mails?|e-mails?|emails?|recipients)?|\bpolicy quota exceeded/,
    HOSTERS,
    '451 4.7.1 limit is 20 messages per 10 minutes',
  ),
]
