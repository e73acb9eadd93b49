// General rules about what a message holds, and about refusals by policy that say no more than that.

import { BOUNCES, EXCHANGE, FILTERS, general, HOSTERS, MANUAL } from './rule.ts'

export const urlReputation = [
  general(
    'url-reputation',
    'content',
    /\breputation of (?:a |the |one or more )?(?:url|link|website|domain in)|\b(?:url|link) (?:\w{1,10} ){0,3}reputation/,
    FILTERS,
    '554 5.7.1 Message blocked due to the reputation of a URL',
  ),
]

export const content = [
  general(
    'virus',
    'content',
    /\bvirus(?:es)?\b|\bmalware|\binfected(?::| (?:with|by|message|file|attachment|mail|e-?mail|content))|\btrojan|\bworm\b|\bransomware|\bphish|\bscam\b|\bmalicious (?:content|url|link|attachment|file|message|code)|\bclamav|\beicar/,
    FILTERS,
    [
      '550 virus detected',
      '554 5.7.1 Message contains virus (Eicar-Test-Signature)',
      '552 5.7.1 virus [name] detected by Zoho Mail',
    ],
  ),
  general(
    'content-attachment',
    'content',
    /\b(?:attachments?|file ?(?:type|name|extension)?|extension|executable|zip|archive|encrypted|macro|mime type|pj)\b[^.;]{0,50}\b(?:not (?:allowed|permitted|accepted)|banned|blocked|forbidden|prohibited|rejected|illegal|dangerous|unsafe|disallowed|denied|suspicious|restricted)\b|\b(?:illegal|banned|forbidden|dangerous|prohibited|unsafe|disallowed|blocked|suspicious|unacceptable|objectionable) (?:\w{1,12} )?(?:attachment|file|extension|content|type|mime|url|link|word)|\bpotential security issue|\bsecurity risk|\battachment type|\battachment \S{1,60} (?:is |was )?(?:not (?:accepted|allowed|permitted)|banned|forbidden|prohibited|blocked)\b|\bserious (?:security )?violation/,
    FILTERS,
    [
      '552-5.7.0 This message was blocked because its content presents a potential security issue.',
      '554 rejecting banned content',
      '550 5.7.1 Attachment type not allowed',
      '554 5.7.1 Attachment "invoice.iso" is not accepted here',
    ],
  ),
  general(
    'content-spam',
    'content',
    /\bspam\b(?! (?:list|source|complaint|house))|\bspam(?:verdacht|filter|schutz|inhalt|erkennung|content|score|check)|\bspammy|\bspam-|\bjunk\b|\bjunkmail|\bunsolicited|\bunwanted|\bube\b|\buce\b|\bbulk (?:e-mail|email|mail|message|advertis\w{0,5})|\bspamassassin|\brspamd|\banti-?spam|\bdspam|\bbogofilter|\bgtube|\bcontent filter|\bspam\w{0,6}(?:score|check|detect)|\bsuspicion de contenu|\bindesirable|\bcorreo no deseado|\bunerwunscht|\bwerbung|\bniechcian|спам|垃圾|\blikely suspicious|\bis suspicious\b|\badvertis(?:ing|ement)|\bphrase|\bmail appears|\bsuspected\b/,
    MANUAL,
    [
      '550 spam message rejected.',
      '550 5.7.1 Rejected by spam filter',
      '550 5.7.1 Our system has detected that this message is likely unsolicited mail.',
      '554 5.7.1 [1] Message rejected under suspicion of SPAM',
      '554 5.7.1 Message content rejected, UBE',
      '550 JunkMail rejected',
    ],
  ),
  general(
    'content-words',
    'content',
    /\bcontents? (?:\w{1,12} ){0,3}(?:rejected|denied|refused|not (?:accepted|allowed|permitted)|blocked|filter\w{0,3}|restrict\w{0,3}|violat\w{0,4}|unacceptable|policy|block)|\b(?:due to|because of|for|nature of) (?:\w{1,12} ){0,3}(?:the )?content\b|\bcontent\b[^.;]{0,30}\b(?:reject|den(?:y|ied)|block|prohibit|match)\w{0,3}|\b(?:blocked|rejected|refused|caught) (?:by|due to|because of) (?:\w{1,12} ){0,3}(?:filter|content|keyword|signature|pattern|heuristic|scan\w{0,3}|rule|virus|bayes|score|url|link)s?\b|\bmessage (?:was |has been |is )?(?:filtered|quarantined)|\bmail (?:was )?filtered|\b(?:score|scored|points)\b[^.;]{0,30}\b(?:exceed|above|over|too high|limit|threshold|\d)|\bscored \d|\b(?:url|urls|link|links|uri|uris) (?:\w{1,12} ){0,4}(?:not allowed|blocked|rejected|forbidden|suspicious|malicious|bad)|\bfilter(?:ed|s|ing)? (?:\w{1,10} ){0,3}(?:reject|blocked|policy|match|message)\w{0,3}|\bcontenu|\bcontenido|\bconteudo|\binhalt/,
    FILTERS,
    [
      '550 Mail content denied.',
      '550 5.7.1 Message rejected due to content restrictions',
      '550 High probability: score 12.1 exceeds threshold',
      '553 Message filtered. Refer to the Troubleshooting page',
    ],
  ),
  general(
    'content-form',
    'content',
    /\b(?:headers?|mime|message format|date|message-id|from header|subject|to header|from: header|header lines?|boundary|body|newlines?|bare (?:lf|cr|linefeed|line feed|newline)|stray newline|lone (?:cr|lf)|character set|charset|encoding)\b[^;]{0,70}\b(?:not (?:rfc|compliant|accepted|valid|allowed|comply|conform|present|supported|permitted|found|parsable|terminated)|in ?valid|missing|malformed|too (?:long|many)|violat\w{0,4}|non-compliant|noncompliant|non-rfc|nonrfc|compliant|bad|illegal|corrupt\w{0,3}|duplicate|multiple|error|syntax|improper|incorrect|required|must|rejected|forbidden|unsupported|no (?:recipient|sender)|empty|blank|future)\b|\b(?:missing|malformed|invalid|bad|illegal|duplicate|multiple|no|empty|blank|non-rfc|nonrfc|unparsable|mangled|improper|unacceptable|too many) (?:\w{1,12} ){0,3}(?:headers?|mime|message-id|date(?: field)?|subject|newlines?|boundary|line endings?|body|encoding|charset|from:|to:|received)\b|\b(?:bare|lone|stray) (?:lf|cr|linefeeds?|line feed|newline)\b|\bstray newline|\bnot (?:rfc|compliant)|\brfc-? ?\d{3,4} (?:\w{1,10} ){0,2}(?:compliant|violation|compliance|format)\b|\b(?:rfc|standards) (?:compliant|violation|compliance)\b|\bmessage (?:is )?(?:malformed|corrupt|not rfc)|\bmalformed (?:message|mail|e-mail|email)|\bloop(?:ing)? message|\bemail (?:has|contains) no|\bmessages with multiple addresses|\bmultiple (?:from )?addresses|\bmessage must be rfc|\bno message body|\bsame (?:size|content) mails|\btoo many same/,
    FILTERS,
    [
      '554 Message not allowed - Headers are not RFC compliant[291]',
      '550 5.7.1 Messages missing a valid messageId header are not accepted.',
      '550 5.6.0 Lone CR or LF in headers',
      '550 Missing required RFC2822 Date field',
    ],
  ),
]

export const accounts = [
  general(
    'license',
    'policy-other',
    /\blicen[cs]e\b|\bpayment required|\bsubscription (?:has )?expired/,
    MANUAL,
    '422 License Expired',
    { scope: 'recipient' },
  ),
  general(
    'account-suspended',
    'policy-other',
    /\b(?:your|sender|smtp|sending|client) (?:\w{1,12} )?account (?:\w{1,14} ){0,4}(?:suspended|disabled|blocked|paused|under review|deactivated|restricted|on hold|not (?:yet )?(?:active|activated)|banned|terminated|locked|pending)|\baccount (?:\w{1,14} ){0,3}(?:suspended|disabled|blocked|banned|paused|locked) (?:for|due to|because)|\bsending (?:\w{1,10} ){0,5}(?:paused|suspended|disabled)|\boutgoing mail (?:from|has been|is)[^.]{0,60}\b(?:suspended|disabled|blocked)|\bapproved sender/,
    HOSTERS,
    [
      '454 Your account has been suspended due to abuse',
      '550 Outgoing mail from "a@example.com" has been suspended.',
    ],
    { scope: 'sender' },
  ),
]

export const policy = [
  general(
    'no-mail-host',
    'policy-other',
    /\bdoes not accept (?:any )?(?:mail|e-mail|email)|\bnot accept(?:ing)? (?:any )?(?:inbound )?(?:mail|e-mail|email|messages)(?: here| at this)?\b|\bdoesn't accept (?:mail|e-mail|email)|\bno (?:mail|smtp) service here|\bno smtp service\b|\bno inbound/,
    BOUNCES,
    '521 Server does not accept mail',
    { scope: 'recipient' },
  ),
  general(
    'policy-recipient',
    'policy-other',
    /\b(?:recipient(?! address(?:es)? (?:rejected|in))|tenant|group|list|distribution|mailing list|members?|receiver|customer|user|rcpt)(?:'s)?\b[^.;]{0,60}\b(?:does(?:n't| not) want|not (?:accept\w{0,3}|allow\w{0,3}|authori[sz]ed|permitted)|restrict\w{0,4}|only accept\w{0,3}|polic(?:y|ies)|members?-only|refus\w{0,4}|block-?rcpt|protected|preferences|settings|permission|filter|reject\w{0,3}|prohibit\w{0,3}|not a member|subscribers?|moderat\w{1,3}|denied)\b|\bnot (?:a )?(?:member|subscribed|authori[sz]ed to send to (?:this|the))|\bblock-?send-?er|\bblock-?rcpt|\bresolver\.rst\.\w{1,40}|\bnot authorized\b|\brestricted (?:recipient|group|list|sender|to)|\bmembers? only|\bclosed mailing list|\bposting (?:not|is)|\bnon-member|\bnonmember|\bnot (?:allowed|permitted|authori[sz]ed) to send (?:\w{1,10} )?to\b|\brefuse[sd]? (?:to )?(?:receive|accept|mail|message)|\bsender not (?:allowed|permitted|authori[sz]ed|in|on)|\bprivate list|\bapproved (?:senders? )?list|\bwhite-?list|\bbypass list|\ballow-?list/,
    EXCHANGE,
    [
      '554 5.7.1 <a@example.com>: Recipient address rejected: BLOCK-SEND-ER.',
      '550 5.7.1 You are not authorized to send to this distribution list, members only',
    ],
    { scope: 'recipient' },
  ),
  general(
    'policy-stated',
    'policy-other',
    /\bpolic(?:y|ies|ity)\b|\badministrative(?:ly)? (?:prohibit\w{0,4}|den\w{1,3}|reject\w{0,3}|refus\w{0,3}|block\w{0,3})|\badministrator\b[^.]{0,40}\b(?:reject|block|den|prohibit)\w{0,4}|\btransport\.rules|\b(?:transport|mail ?flow|custom|local|access|security|compliance|mail) rules?\b|\borgani[sz]ational settings|\bprohibit(?:ed|ion)\b|\brichtlinien?\b|\bpolitique|\bpolitica|\bpolityk|\bforbidden\b|\bterms of (?:service|use)|\bacceptable use|\baup\b|\bcaptcha|\bmass mailer|\bbanned\b|\bnot authori[sz]ed\b|\bunauthori[sz]ed\b|\bnot permitted|\brestricted\b|\babuse\b|\bviolat(?:ion|es|ed|ing)\b/,
    MANUAL,
    [
      '550 5.7.1 [CS01] Message rejected due to local policy.',
      '550 Administrative prohibition - envelope blocked',
      '550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy',
      '554 Email rejected due to security policies',
    ],
    {},
  ),
]

export const saysNothing = [
  general(
    'server-rejected-message',
    'unknown',
    /\bmail server (?:has )?(?:temporarily|permanently) rejected (?:this )?message/,
    MANUAL,
    '451 4.3.0 Mail server temporarily rejected message',
    { scope: 'message' },
  ),
  general(
    'try-later',
    'unknown',
    /^\W{0,4}(?:(?:please|try|again|later|retry|sorry|deferred|temporar(?:il)?y|rejected|reject|message|mail|email|e-mail|come|back|your|has|have|been|was|is|the|this|at|in|a|few|minutes|hours|some|time|while|to|and|delivery|resend|mailaddr|for|recipient|transaction|requested|action|aborted|not|taken|command|refused|denied|closing|connection|transmission|channel|we|are|it|accepted|deferral|moment|you|can|able|delayed|nicht|spater|erneut|versuchen|bitte|wieder|plus|tard|reessayez|veuillez|mas|tarde|intente|por|favor|tente|novamente)\b\W{0,4}){1,24}$/,
    MANUAL,
    ['451 4.7.1 Try again later', '451 4.3.0 Mail server temporarily rejected message'].slice(0, 1),
  ),
]
