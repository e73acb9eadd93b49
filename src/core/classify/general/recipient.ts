// General rules about whom mail is for: unknown, disabled or full mailboxes, callouts, relaying.

import { BOUNCES, general, MANUAL, POSTFIX, RFC } from './rule.ts'

export const unverified = [
  general(
    'callout-recipient',
    'recipient-unverified',
    /\bunverified address|\baddress verification (?:in progress|pending|not)|\bverification (?:is )?(?:in progress|pending|not (?:yet )?(?:complete|finished))|\brecipient (?:address )?(?:verif\w{0,8}|callout|lookup failed|verify)|\b(?:cannot|can't|could not|unable to|failed to) (?:currently )?(?:verify|validate|confirm) (?:the )?(?:recipient|address|user|mailbox|mailaddr|<mailaddr)|\bcall-?(?:out|back|forward)\b[a-z :]{0,40}\b(?:fail|verif|defer|in progress|timed)|\bvalidity of (?:the )?(?:address|recipient)|\brecipient's server was temporarily unavailable|\bcould not complete recipient verify/,
    POSTFIX,
    [
      '450 4.1.1 <a@example.com>: Recipient address rejected: unverified address: Address verification in progress',
      '451 Could not complete recipient verify callout',
    ],
    { code: '4xx' },
  ),
]

export const unknownFirst = [
  general(
    'account-or-domain',
    'recipient-unknown',
    /\baccount or domain may not exist/,
    BOUNCES,
    '550 The mail server could not deliver mail to a@example.com. The account or domain may not exist, they may be blacklisted, or missing the proper dns entries.',
  ),
]

export const full = [
  general(
    'mailbox-full',
    'mailbox-full',
    /\bout of quota|\b(?:mailbox|inbox) (?:\w{1,10} ){0,2}exceeded (?:the|its|their) (?:limit|maximum)|\bover[ -]?quota|\boverquota|\b(?:mailbox|mail box|inbox|folder|maildir|mailfolder|account|user|recipient)\b(?:'s)?[a-z ]{0,30}\b(?:is |are )?(?:too )?full\b|\bfull mailbox|\bmailbox full|\bquota (?:is |has been |usage )?(?:exceed\w{0,3}|full|violation|over|reached|limit|check failed)|\b(?:exceed\w{0,3}|over|above|reached|beyond) (?:\w{1,12} ){0,4}(?:disk |mailbox |mail |storage |allowed |space |user )?(?:quota|storage (?:allocation|limit|space|quota)|disk (?:space|quota)|mailbox (?:size|limit|quota|storage))|\b(?:mailbox|inbox|storage|account|recipient|user)\b[a-z ]{0,30}\b(?:limit (?:is )?(?:exceed\w{0,3}|reached)|size limit|out of (?:storage|space|disk)|no (?:more )?space|storage limit|space limit|insufficient (?:space|storage|quota)|not enough (?:space|storage))|\bout of (?:storage|mailbox|disk) space|\b(?:insufficient|not enough|no) (?:storage |disk |free )?(?:space|storage|quota) (?:in|on|for|left|available)? ?(?:the |this |user |recipient |mailbox|their)|\bwould exceed (?:\w{1,12} ){0,3}(?:quota|storage|limit|mailbox)|\bextended quota|\bexceeded storage allocation|\bdoes not have enough space|\bspace (?:has been|is) used up|\b(?:blocks|inode) limit|\bpostfach (?:\w{1,10} )?voll|\bspeicherplatz|\bboite (?:\w{1,14} ){0,3}(?:pleine|saturee)|\bbuzon (?:\w{1,10} )?lleno|\bcaixa (?:\w{1,12} ){0,2}cheia|\bcasella (?:\w{1,10} )?piena|\bskrzynka (?:\w{1,14} ){0,2}(?:pelna|przepelniona)|переполнен|已满|\btoo much mail data|\bvirtual mailbox limit|\bmailbox limit exe?eded|\bmailbox size limit|\btoo many messages (?:on the server|in (?:the )?mailbox)|\bno free space|\bdisc quota|\boverdrawn|\bmaxed out|\bcuota (?:\w{1,10} )?(?:excedida|superada)|\bquota superata|\bquota depasse/,
    MANUAL,
    [
      '552 5.2.2 <a@example.com>: user is overquota',
      '452 4.2.2 The email account that you tried to reach is over quota.',
      '552 Requested mail action aborted: exceeded storage allocation Quota exceeded.',
      '550 5.2.2 user quota exceeded',
      '552 5.2.2 Mailbox size limit exceeded',
      '552 5.1.1 Boite du destinataire pleine.',
    ],
    {},
  ),
]

export const tooLarge = [
  general(
    'message-large',
    'message-too-large',
    /\b(?:message|mail|e-mail|email|msg|attachments?|data|file|body|header|content|nachricht|mensaje|mensagem|messaggio|wiadomosc|datei|size|nachrichtengrosse|envelope|it)\b[^.]{0,50}\b(?:too (?:large|big|long)|size (?:exceed\w{0,3}|limit|is over|too|violation|larger|over)|exceed\w{0,3} (?:\w{1,14} ){0,5}(?:size|maximum length|limit of \d|length|mb|bytes|kb|message size|fixed limit)|larger than|bigger than|zu gross|demasiado grande|trop (?:gros|volumineux|grand)|muito grande|troppo grand[ei]|zbyt duz[aye]|over (?:the )?(?:size|\d{1,9} ?(?:k|m|bytes)))|\b(?:exceed\w{0,3}|over|larger than|maximum|max) (?:\w{1,14} ){0,5}(?:message|mail|e-mail|email|attachment|fixed|file|header) (?:size|length|limit)|\bsize limit (?:exceed\w{0,3}|for)|\bmessage size (?:limit|exceed\w{0,3}|violation|over|of)|\btoo (?:large|big) (?:message|mail|e-mail|email|attachment)|\b(?:maximum|max) (?:permitted |allowed |message )?(?:size|length) |\boversized|\bmailsize limit|\bmessage length exceed|\bmail(?: file)? size exceed|\bsize exceeds\b|\bexceeds (?:the )?(?:maximum|max|size|limit)|\btamano (?:maximo|excede)|\btaille (?:maximale|du message|depasse)|\bnachricht (?:\w{1,6} )?zu gross|\bheader (?:size|line|length)s? (?:limit|exceed|too)/,
    POSTFIX,
    [
      '552 5.3.4 Message size exceeds fixed limit',
      '552 Message size exceeds maximum permitted',
      "552-5.2.3 Your message exceeded Google's message size limits.",
      '552 message is too long.',
      '552 Requested mail action aborted: exceeded mailsize limit',
      '554 attachment is too long.',
    ],
    {},
  ),
]

export const mailboxAway = [
  general(
    'mailbox-unavailable',
    'server-busy',
    /\b(?:mailbox|recipient|user|account|inbox)\b[a-z ]{0,24}\b(?:unavailable|not available|busy|in use)\b/,
    RFC,
    [
      '450 Requested mail action not taken: mailbox unavailable',
      '450 4.2.0 <a@example.com> - Recipient temporarily unavailable',
    ],
    { code: '4xx', scope: 'recipient' },
  ),
]

export const disabled = [
  general(
    'mailbox-disabled',
    'recipient-disabled',
    /\b(?:mailbox|mail box|account|user|recipient|address|inbox|e-mail|email|mailaddr\S{0,2}|customer|domain|konto|postfach|compte|cuenta|conta|boite|benutzer|usuario|skrzynka|addressee|login|member|subscriber)\b[^.;]{0,50}\b(?:disabled|inactive|suspended|deactivated|de-?activated|expired|closed|locked|frozen|blocked|archived|archivee|terminated|cancell?ed|on hold|not (?:active|activated|enabled|in use|currently (?:active|accepting))|no longer (?:active|available|in use|accept\w{0,3}|valid|exists?|at|with|used|on|work\w{0,3}|monitored)|discontinued|abandoned|restricted|dormant|unused|quarantined|deaktiviert|gesperrt|inaktiv|desactive|desactivad[ao]|desativad[ao]|suspendid[ao]|disattivat[ao]|zablokowan[aye]|nieaktywn[aye]|blokiert|retired|not accepting|does(?:n't| not) accept|isn't accepting|is not accepting|has moved|moved|temporarily (?:disabled|unavailable|inactive|locked|suspended)|under maintenance|inaccessible|заблокирован|отключен|停用|冻结|unpaid|not authori[sz]ed to receive|not allowed to receive|delivery (?:is )?(?:disabled|suspended)|unactivated)\b|\b(?:disabled|inactive|suspended|deactivated|expired|closed|locked|frozen|blocked|dead|dormant|archived|invalid\/inactive|terminated|unactivated|deceased) (?:\w{1,10} )?(?:mailbox|account|user|recipient|address|e-mail|email|customer|domain|member)\b|\bextended inactivity|\brecipient (?:address )?rejected: inactive|\bnot accepting (?:any )?(?:mail|messages|new)|\bthis (?:account|mailbox|address|user) (?:has been |is |was )?(?:disabled|inactive|suspended|closed|locked|discontinued|expired)|\brequires an upgrade|\bno longer (?:available|works here|employed|accepts?|in use|valid|active|on (?:this )?server|with (?:us|this))|\bgesperrtes? (?:konto|postfach)|\baccount not activated|\bsuspend the service|\buser (?:hangup|suspended|frozen|is locked)|\bmailbox is frozen|\bleft the company|\bhas been closed|\blicen[cs]e (?:has )?expired|\bnot receiving mail|\bpermanently removed/,
    MANUAL,
    [
      '550 5.2.1 The email account that you tried to reach is disabled.',
      '550 Message was not accepted -- invalid mailbox. Local mailbox a@example.com is unavailable: account is disabled',
      '554 delivery error: dd Sorry, your message to a@example.com cannot be delivered. This mailbox is disabled (554.30).',
      '540 5.7.1 <a@example.com>: recipient address rejected: Inactive',
      '550 Account is not active',
    ],
    {},
  ),
]

export const unknownUser = [
  general(
    'user-unknown',
    'recipient-unknown',
    /\b(?:no|not a|isn't a|not) (?:such |valid |known |local |existing |deliverable |registered |matching |a valid |a known |a local |our |longer a valid |mail ?box )?(?:user|users|mailbox|mail-?box|recipients?|address(?:es)?|account|person|inbox|id|e-?mail(?: address)?|customer|one|local part|domain user|alias|box|member|login|rcpt|subscriber|mail drop|people|employee|user account|e-mail account|entry|addressee|contact)\b(?! (?:is )?(?:allowed|permitted|specified|given|accepted yet|quota))|\b(?:user|users|mailbox|mail-?box|recipients?|address|addressee|account|local part|alias|inbox|id|email|e-mail|person|rcpt|customer|box|mailaddr\S{0,2}|login|member|postfach|mailkonto|benutzer|empfanger|destinataire|usuario|destinatario|utilisateur|uzytkownik|odbiorca|utente|adresse|konto|destination|subscriber|mail user)\b[^.;]{0,50}\b(?:unknown|not (?:found|known|exist\w{0,3}|valid|recogni[sz]ed|listed|present|local|here|available here|registered|in (?:the|our|my)|allocated|a valid|be found|be delivered|deliverable)|does(?:n't| not) (?:exist|have|match|resolve)|doesnt exist|do not exist|no such|unrecogni[sz]ed|invalid|undeliverable|nonexistent|non-existent|nonexistent|unavailable here|isn't (?:valid|known|here)|is not (?:known|valid|here|found|a)|unallocated|could ?n[o']t be (?:found|verified)|cannot be found|can't be found|unbekannt|existiert nicht|nicht (?:gefunden|vorhanden|bekannt|existent|verfugbar)|inconnue?|inexistant|n'existe pas|invalide|no existe|desconocido|inexistente|desconhecido|nao (?:existe|encontrado)|sconosciuto|non (?:esiste|trovato)|nie (?:istnieje|znaleziono)|nieznany|unauthori[sz]ed|wrong|misspelled|deleted|removed|not our customer|bad|rejected: user|not ok|denied: unknown)\b/,
    MANUAL,
    [
      '550 5.1.1 <a@example.com>: Recipient address rejected: User unknown in virtual mailbox table',
      '550 5.1.1 The email account that you tried to reach does not exist.',
      '550 5.1.1 Not our Customer',
      '550 No such user (a@example.com)',
      '550 5.2.1 <A@EXAMPLE.NET>... Addressee unknown, relay=[192.0.2.1]',
      '550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient.',
      '550 5.1.1 Account not found',
      '550 5.1.1 Benutzer unbekannt',
    ],
    {},
  ),
  general(
    'user-invalid',
    'recipient-unknown',
    /\b(?:unknown|invalid|bad|nonexistent|non-existent|nonexistent|unrecogni[sz]ed|illegal|incorrect|unroutable|undeliverable|wrong|unkown|malformed|syntactically invalid|ungultige?r?|invalide?|unbekannte?r?) (?:\w{1,12} )?(?:user|users|mailbox|recipient|recipients|address(?:es)?|rcpt|local[ -]?part|destination|account|e-mail|email|forward-?path|inbox|id|addressee|empfanger|adresse|destinataire|customer)\b|\bnot (?:a )?valid (?:rfc|e-mail|email|address)|\baddress (?:invalid|unknown|not (?:present|known|valid|found))|\bmailbox (?:not found|unavailable|is unavailable|not available|name not allowed|invalid|unavaiable|temporarily disabled|unknown|not present)|\buserunknown|\bnosuchuser|\bbadrcptto|\bvalidrcptto|\brecipient(?:s)? (?:rejected|refused|not (?:accepted|allowed|ok|exist|found)|denied|unknown|invalid|unrecogni[sz]ed)|\brecipnotfound|\bresolver\.adr\.\w{0,20}notfound|\brecipient ?notfound|\bnot in (?:my |our |the )?(?:directory|recipient list|validrcptto)|\bno mail ?box|\bdoes(?:n't| not) have an? \S{1,40} account|\bthis user doesn't|\bblank mailhost|\bgone away\b|\buser reject\w{0,3}|\bno valid recipients|\bnon-deliverable|\bnondeliverable|\baddress does not|\buser email address is marked as invalid|\bnot a deliverable|\bundeliverable address|\brecipient mailbox unallocated|\bmisspelled|\bcheck (?:the )?(?:spelling|recipient|e-mail address|email address|address)|\brcpt is rejected|\bno longer valid|用户不存在|不存在|не существует|неизвестный|\bmailbox not|\bempfanger (?:abgelehnt|unbekannt)|\buser not (?:found|known|exist|active|local)|\bcan't accept user|\bvdeliver|\bno account\b|\bhas no mailbox|\bnot an active address|\btypo\b|\b(?:domain|address|local part) (?:\w{1,8} )?(?:missing or malformed|missing|malformed)|\brestricted characters in (?:the )?address|\bneed fully-qualified address|\bsingle label domains?/,
    BOUNCES,
    [
      '550 Requested action not taken: mailbox unavailable',

      '550 Invalid recipient <a@example.com> (#5.1.1)',
      '501 5.1.3 Invalid address',
      '550 RESOLVER.ADR.RecipNotFound; not found',
      '554 5.7.1 <a@example.com>: Recipient address rejected: Not in recipient list',
    ],
    {},
  ),
]

export const refusedRecipient = [
  general(
    'recipient-access-denied',
    'policy-other',
    /\brecipient address rejected: access denied|\brecipient address rejected - access denied/,
    POSTFIX,
    '554 5.7.1 <a@example.com>: Recipient address rejected: Access denied',
    { scope: 'recipient' },
  ),
  general(
    'recipient-refused',
    'recipient-unknown',
    /\brecipient address rejected\b/,
    POSTFIX,
    '550 5.1.1 <a@example.com>: Recipient address rejected: example.com',
    { code: '5xx', enhanced: ['5.1.*', '5.4.1'] },
  ),
]

export const relaying = [
  general(
    'relay-denied',
    'relay-denied',
    /\brelay(?:ing)?\b(?: access| attempt| mail| through| to| not| is| from| for| \w{1,10}){0,3}:? ?(?:\w{1,12} ){0,2}(?:denied|permitted|allowed|authori[sz]ed|prohibited|disallowed|refused|rejected|forbidden|not supported|disabled|blocked|verboten|abgelehnt|interdit|nicht|not local)|\b(?:not|unable|cannot|can't|don't|doesn't|refuse|deny|denied|no|denies|unauthori[sz]ed|isn't allowed|anti|illegal|attempt(?:ed)? to|prevent\w{0,3}) (?:\w{1,12} ){0,4}relay(?:ing|ed)?\b|\b(?:as|open|third-?party|insecure mail|mail) a? ?relay\b|\brcpthosts|\brelaying\b|\bopen ?relay\b|\brelay check/,
    MANUAL,
    [
      '554 5.7.1 <a@example.net>: Relay access denied',
      '550 5.7.1 Unable to relay',
      '550 relaying denied for <a@example.com>',
      "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
      '553 Relaying disallowed',
      '451 Open relay not allowed',
    ],
  ),
]

export const relayingDomain = [
  general(
    'relay-domain',
    'relay-denied',
    /\bnot (?:a )?(?:local|hosted|served|serviced) (?:domain|here|recipient)|\bdomain (?:is )?not (?:hosted|served|handled|local|accepted|in my|configured|recogni[sz]ed|supported|allowed|known here|here)|\bdo(?:es)?(?:n't| not) (?:handle|host|accept) (?:mail|e-mail|email|messages) for\b|\b(?:cannot|can't|don't|do not) deliver mail (?:for|to)\b|\bno-domain\b|\bnodomain\b|\btenant or domain not found/,
    MANUAL,
    [
      '554 5.7.1 <a@example.com>: Recipient address rejected: NO-DOMAIN.',
      '550 I cannot deliver mail for {a@example.com}',
      '550 5.7.1 We do not accept mail for this domain',
    ],
  ),
]

export const international = [
  general(
    'smtputf8',
    'smtputf8',
    /\bsmtputf8|\bnon-ascii|\bnonascii|\bunicode address|\binternationali[sz]ed|\beai\b|\butf-?8 (?:address|header|envelope|local)|\b8-?bit (?:address|characters in (?:address|local))/,
    RFC,
    [
      '553 5.6.7 Must declare SMTPUTF8 to send unicode address',
      '550 5.6.7 Non-ASCII addresses not permitted for that sender/recipient',
      '554 5.6.7 SMTPUTF8 is required, but was not offered by host mx.example.com',
    ],
  ),
]
