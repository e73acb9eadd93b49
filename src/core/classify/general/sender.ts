// General rules about who sends: login, TLS, SPF/DKIM/DMARC, PTR and HELO, the sender address.
// Not here: block lists and reputation (standing.ts).

import { BOUNCES, EXCHANGE, EXIM, FILTERS, general, HOSTERS, MANUAL, POSTFIX, RFC, SENDMAIL } from './rule.ts'

export const login = [
  general(
    'login-throttled',
    'auth-credentials',
    /\btoo many (?:\w{1,12} ){0,2}(?:login|log-?in|auth\w{0,12}|password|sasl)\b|\btoo (?:much|many) fail(?:ed|ure)?s? (?:\w{1,10} ){0,2}auth/,
    HOSTERS,
    [
      '454 4.7.0 Too many login attempts, please try again later.',
      '451 Requested mail action not taken: too much fail authentication',
    ],
  ),
  general(
    'login-failed',
    'auth-credentials',
    /\b(?:username|user name|login|password|credentials?|passwort|mot de passe|contrasena|senha|haslo|kennwort|user(?:name)? (?:and|or|\/) ?password|login name)\b[a-z ,'/-]{0,40}\b(?:not accepted|incorrect|invalid|wrong|fail\w{0,4}|expired|bad|rejected|required|falsch|ungultig|incorrecte?s?|bledne|unknown|mismatch|denied)|\b(?:incorrect|invalid|wrong|bad|falsche?s?|unknown|missing) (?:\w{1,14} ){0,3}(?:username|user name|login|password|credentials?|auth(?:entication)? (?:data|credentials|failed)|passwort|user id)|\bapp(?:lication)?-specific password|\bauthentication (?:data|credentials) (?:\w{1,10} )?(?:incorrect|invalid)|\b(?:smtp|sasl) (?:\w{1,14} )?(?:auth\w{0,12}|login) (?:\w{1,12} ){0,3}(?:fail|error|reject|disabled|denied|unsuccessful|required|aborted|cancel)|\bsmtpclientauthentication|\blogin (?:failed|denied|disabled|refused|rejected|attempt|failure|via|not)|\blog ?in (?:with|via|to) your|\bauthentifizierung (?:fehlgeschlagen|erforderlich)|\bplease log ?in\b|\bweb ?login required|\bpop before smtp|\bcheck (?:for new )?(?:your )?mail (?:first|before|via pop)|\bpop3? (?:auth|login|first)/,
    HOSTERS,
    [
      '535-5.7.8 Username and Password not accepted.',
      '535 Incorrect authentication data',
      '535 5.7.8 Error: authentication failed: bad username or password',
      '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.',
    ],
  ),
  general(
    'login-authentication',
    'auth-credentials',
    /\bauth(?:entication|entification|entification failed|orization)?\b(?: \w{1,10}){0,2} (?:fail\w{0,4}|unsuccessful|required|rejected|mechanism|needed|error|credentials|invalid|not (?:supported|enabled|available|allowed)|first|aborted|temporar|disabled|exchange|cancelled|canceled)|\b(?:must|need to|have to|requires?|please|should|not) (?:\w{1,12} ){0,3}(?:authenticate|authentication|auth|authenticated|login)\b|\bnot authenticated\b|\bmust authenticate|\bclient was not authenticated|\bunauthenticated (?:client|user|session|connection)|\bsmtp auth\w{0,12}\b|\bauth(?:entication)?\b[a-z ]{0,20}\b(?:credentials|server|token)|\boauth|\bxoauth2?/,
    HOSTERS,
    [
      '530 5.7.0 Authentication required.',
      '530 5.7.57 Client not authenticated to send mail.',
      '454 4.7.0 Temporary authentication failure',
    ],
    { code: [334, 432, 454, 500, 501, 502, 503, 504, 530, 534, 535, 538] },
  ),
  general(
    'login-phase',
    'auth-credentials',
    /\b(?:auth (?:error|mode|fail\w{0,3}|type|command)|login|account|password|credential|user|denied|disabled|locked|mechanism)/,
    HOSTERS,
    '535 5.7.3 Account locked',
    { phase: 'auth', code: [451, 454, 500, 525, 501, 502, 503, 504, 534, 535, 538, 550, 554] },
  ),
  general(
    'login-required',
    'auth-credentials',
    /\bauthentication (?:is )?(?:required|needed)\b|\b(?:requires?|enable|use|turn on|check|need) (?:\w{1,10} ){0,3}(?:smtp )?authenticat(?:ion|e)\b|\bplease (?:authenticate|log ?in|turn on smtp auth\w{0,12})|\bmust (?:be )?(?:authenticated?|logged in)|\bauthenticate (?:first|before|to send)|\bnot (?:logged in|authenticated)\b|\bauthenticated users? only|\bsender not auth|\bclient was not authenticated|\bsmtp auth(?:entication)? (?:is )?(?:required|needed|failed|error|disabled)/,
    EXCHANGE,
    [
      '550 5.7.1 Client was not authenticated',
      '550 Please turn on SMTP Authentication in your mail client',
      '550 authentication required',
    ],
  ),
]

export const encryption = [
  general(
    'tls-required',
    'tls-required',
    /\b(?:must|need to|should|please|requires?|required|mandatory|only accept\w{0,3}|refus\w{0,4}) (?:\w{1,14} ){0,5}(?:starttls|tls|ssl|encryption|encrypted|secure)\b|\b(?:starttls|tls|ssl|encryption|encrypted (?:connection|session|channel)|secure (?:connection|channel))\b(?: \w{1,12}){0,3} (?:required|needed|mandatory|enforced|before|first|must|not (?:available|offered|supported|started|active)|fail\w{0,4}|error|handshake|negotiation|unavailable)|\btls ?v?1\.[0-3]\b|\btls (?:handshake|negotiation|version|cipher|certificate|session|currently|not|is)|\bmust issue (?:a )?starttls|\bno (?:encryption|tls|starttls)\b|\bencryption (?:is )?(?:required|needed)|\bcertificate (?:\w{1,12} ){0,3}(?:verif|invalid|expired|untrusted|not trusted|mismatch|validation|failed|rejected|required)|\bcannot verify (?:the )?(?:peer|server) certificate|\bserver certificate|\b(?:dane|mta-sts|tlsa)\b|\bcannot start tls|\bverschlusselung|\bssl_(?:error|connect)|\bno shared cipher|\bunsupported protocol|\bstarttls\b|\btls\/sslv?3? connection\b|\bsslv3 connection\b/,
    RFC,
    [
      '530 5.7.0 Must issue a STARTTLS command first',
      '421 4.7.0 TLS required for RCPT domain, closing connection.',
      '454 4.7.0 TLS not available due to local problem',
      '550 5.7.10 Encryption needed',
      '454 4.7.5 Server certificate not trusted',
    ],
  ),
]

export const domainAuthentication = [
  general(
    'auth-dns',
    'dns',
    /\b(?:temp(?:orary|error)?|transient|dns|timeout|lookup|could not|unable)\b[^.]{0,60}\b(?:spf|dkim|dmarc|domainkeys)\b(?![^.]{0,40}\bnot pass)|\b(?:spf|dkim|dmarc)\b[^;]{0,60}\b(?:temperror|temporary|temp ?fail\w{0,3}|dns (?:lookup|error|timeout|failure|problem)|lookup (?:fail|error|timeout)|timed? ?out|transient|servfail|temporarily)/,
    MANUAL,
    [
      '450 4.4.0 <a@example.com> Temporary DMARC DNS lookup failure',
      '451 4.7.24 SPF validation error: DNS temporary failure',
      '451 4.4.3 Temporary error in SPF processing',
    ],
    { scope: 'sender', code: '4xx' },
  ),
  general(
    'auth-spf-dkim',
    'authentication',
    /\b(?:spf|dkim|dmarc|domainkeys?|sender policy framework|sender[ -]?id|adkim|aspf|openspf|senderid|dmarcian)\b(?!\.cgi)/,
    MANUAL,
    [
      '550 5.7.1 Email rejected per DMARC policy for example.com',
      '550 5.7.23 The message was rejected because of Sender Policy Framework violation',
      '550 <a@example.com>: Reject due to SPF policy.',
      '554 5.7.5 Message failed DKIM verification',
    ],
  ),
]

export const senderWords = [
  general(
    'auth-words',
    'authentication',
    /\bunauthenticated (?:e-mail|email|mail|message|sender)|\b(?:e-mail|email|message|mail|sender|domain|message sender) (?:\w{1,10} ){0,2}(?:is |was )?not (?:authenticated|aligned|properly authenticated)\b|\bauthentication (?:checks?|information|results?|level|requirements?|policy)\b|\b(?:does|did|do)(?:n't| not) (?:meet|pass) (?:\w{1,12} ){0,3}(?:authentication|alignment)|\bfail\w{0,4} (?:\w{1,12} ){0,3}(?:email |sender |domain |message )authentication|\bnot authori[sz]ed to send (?:\w{1,12} ){0,4}(?:for|from|on behalf|using) (?:\w{1,12} ){0,3}(?:domain|mailaddr|this)|\bnot (?:permitted|allowed|authori[sz]ed|designated) (?:\w{1,12} ){0,4}(?:by (?:the )?(?:domain|owner|sender)|to send (?:\w{1,12} ){0,3}(?:for|from|using|on behalf|mails? (?:from|for)))|\bdoes(?:n't| not) (?:allow|permit|designate)\b[^.]{0,40}\b(?:send|sending|sender)|\bdkim=|\bspf=|\bdmarc=|\balignment\b|\bheader from (?:\w{1,10} ){0,3}(?:not|mismatch|differ)/,
    MANUAL,
    [
      '550 5.7.26 Unauthenticated email from example.com is not accepted',
      "550 5.7.515 Access denied, sending domain example.com doesn't meet the required authentication level.",
    ],
  ),
]

export const spoofing = [
  general(
    'auth-spoof',
    'authentication',
    /\bspoof|\banti-?spoof|\bforged (?:sender|mail|message|from|e-mail|email|address)|\bforgery|\bforged\b|\bimpersonat|\bfake (?:sender|mail|from)|\bfake sender|\bpretend/,
    FILTERS,
    ['550 rejecting spoofed message', '550 Rejected by header based Anti-Spoofing policy: a@example.com'],
    { scope: 'sender' },
  ),
]

export const names = [
  general(
    'ptr-lookup-temporary',
    'reverse-dns',
    /\b(?:cannot|can't|could not|unable to|failed to|not) (?:find|resolve|verify|lookup|look up|determine|match|get) (?:\w{1,12} ){0,4}(?:reverse|ptr|hostname|host name|your (?:hostname|address|host|ip|domain|name)|client|rdns|helo|ehlo)\b/,
    POSTFIX,
    [
      '450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]',
      '450 4.7.25 Client host rejected: cannot find your hostname',
    ],
  ),
  general(
    'ptr-missing',
    'reverse-dns',
    /\b(?:reverse|rdns|fcrdns|r-dns|ptr|reverse-?dns|reversed?|in-addr|rueckwaerts|ruckwartsauflosung|dns inverso|inverse dns|resolution inverse|revdns)\b(?! path)/,
    MANUAL,
    [
      '421 Refused. Your reverse DNS entry does not resolve to an IP.',
      '450 4.7.1 Client host 192.0.2.10 has no PTR record',
      '554 Bad DNS PTR resource record.',
      '550 5.7.25 The IP address sending this message does not have a PTR record setup',
    ],
  ),
  general(
    'ptr-generic',
    'reverse-dns',
    /\b(?:generic|dynamic|residential|dial-?up|dialup|consumer|adsl|dsl|pool|dhcp)\b[a-z -]{0,30}\b(?:hostnames?|host names?|rdns|ptr|dns|helo|ehlo|hosts?|names?|clients?|ips?|range|address(?:es)?)\b|\bdynamic ip/,
    BOUNCES,
    '554 5.7.1 Mail from generic hostnames is not accepted',
  ),
  general(
    'helo-invalid',
    'reverse-dns',
    /\b(?:helo|ehlo)\b[^.]{0,60}\b(?:reject\w{0,3}|invalid|not (?:found|valid|resolv\w{1,4}|exist|match|fully|allowed|accept\w{0,3}|permitted)|does(?:n't| not)|mismatch|unresolv\w{0,5}|bogus|fake|forged|incorrect|illegal|bad|host not found|need fully|fqdn|wrong|denied|spoof|syntactically|mail domain|refused|unqualified|localhost|policy|should(?: not)?|must(?: not)?)\b|\b(?:invalid|bad|bogus|illegal|incorrect|unresolvable|fake|forged|unacceptable|unqualified|wrong|non-fqdn|nonfqdn|syntactically invalid) (?:\w{1,12} ){0,2}(?:helo|ehlo|hostname|host name)\b|\bhelo (?:command )?reject|\b(?:helo|ehlo) (?:host)?name \S{1,80} (?:\w{1,10} ){0,3}(?:not|invalid|must|should)\b|\bhelohost|\bhelo name|\bneed fully-?qualified hostname|\b(?:hostname|host name|name) (?:\w{1,12} ){0,4}(?:does(?:n't| not) (?:match|resolve)|mismatch|not resolve|not match)|\bmismatches client ip|\b(?:forward|forward-?confirmed|dns) (?:\w{1,10} ){0,3}(?:does not|doesn't|mismatch|not) (?:match|point|resolve)/,
    POSTFIX,
    [
      '504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname',
      '550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)',
      '450 4.7.1 <mail.example.com>: Helo command rejected: Host not found',
    ],
  ),
  general(
    'ptr-hostname',
    'reverse-dns',
    /\b(?:no|missing|without|invalid|valid|unresolvable|resolvable|unknown|lookup) (?:a )?(?:valid )?(?:\w{1,10} ){0,2}(?:dns (?:entry|name|record|a record)|hostname|host name|relay host name) (?:\w{1,10} ){0,2}(?:for|of|from)? ?(?:your|ipaddr|\[ipaddr|client|the client|the connecting|sending|this)|\bip name lookup failed|\bunresolvable relay host|\bcannot resolve (?:your |ptr )|\bhost(?:name)? (?:could not|cannot|can't|not) be (?:resolved|verified)|\bno dns entry|\bclient (?:host|name|ip)\b[a-z #[\]:]{0,30}\b(?:unresolv|does not resolve|not resolv)|\bfix your dns|\bcheck your dns|\bwithout a valid sender domain\b|\brequire[sd]? (?:a )?valid dns/,
    SENDMAIL,
    ['550 5.7.1 Access denied. IP name lookup failed [192.0.2.1]'],
  ),
]

export const senderBlocked = [
  general(
    'domain-blocked',
    'reputation-domain',
    /\b(?:your|sender|sending|sender's|from|envelope) domain\b[^.;]{0,40}\b(?:blocked|banned|suspended|not accepted|blocklisted|not welcome)\b/,
    BOUNCES,
    '550 5.7.1 Your domain is blocked',
  ),
  general(
    'sender-blocked',
    'sender-rejected',
    /\b(?:sender|your (?:e-mail |email )?address|from address)\b(?! (?:ip|host|server|mta|network)\b)[a-z ]{0,30}\b(?:blocked|banned)\b/,
    BOUNCES,
    ['550 5.7.1 Sender blocked', '553 Sorry, your email address has been blocked'],
  ),
]

export const senderAddress = [
  general(
    'callout-sender',
    'sender-rejected',
    /\bsender (?:address )?(?:verif\w{0,8}|callout|call-?back)|\bverif(?:y|ication|ying) (?:\w{1,8} ){0,2}(?:of |for )?(?:the )?sender|\bcannot verify (?:the )?sender|\bunable to verify sender|\bsender verify/,
    EXIM,
    ['550 Sender verify failed', '451 Could not complete sender verify callout'],
  ),
  general(
    'sender-not-owned',
    'sender-rejected',
    /\b(?:sender|from|mail from|envelope|return-?path|address|sending|send ?as|submit|identit\w{1,3})\b[^;]{0,90}\b(?:not owned by|not (?:allowed|permitted|authori[sz]ed) (?:to send|for|by|as|in|from)|not verified|unverified|not validated|unvalidated|mismatch|does(?:n't| not) (?:match|belong)|not (?:match|belong|same|registered|configured|confirmed|associated|correspond)|must (?:match|be)|unauthori[sz]ed|send ?as ?denied|different from|not a verified|not yet verified|not correspond)|\bsend(?:ing)? ?as ?denied|\bsendasdenied|\bnot owned by|\bmail from must equal|\bsame as auth|\bnot (?:a )?verified (?:sender|domain|identity|address)|\b(?:identity|identities|domain|address|sender) (?:\w{1,10} ){0,4}not (?:been )?verified|\bsenders? must be\b|\bfrom address (?:\w{1,10} ){0,4}(?:not|must|verified)|\bsender identity|\bunverified sender|\bnot allowed to send (?:e-mails? |emails? |messages? |mails? )?(?:as|from|on behalf|with)|\bsender is unvalidated|\bnot owned by user|\bauthenticated (?:user|sender|as)\b[^.]{0,40}\b(?:not|differ|match)/,
    HOSTERS,
    [
      '553 5.7.1 <a@example.com>: Sender address rejected: not owned by user other@example.com',
      '554 Message rejected: Email address is not verified. The following identities failed the check',
      '550 The from address does not match a verified Sender Identity.',
      '554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied',
    ],
  ),
  general(
    'sender-domain-dns',
    'sender-rejected',
    /\b(?:sender|sending|mail from|mailfrom|from|envelope|return|originating|reverse-?path|originator)\b(?: address| domain| host| e-?mail|'s|-address| mail| rejected:?| \w{1,12}){0,4}:? ?[^;]{0,60}\b(?:domain|address|mx|dns|host|mailaddr\S{0,2}|it)\b[^;]{0,40}\b(?:not found|does(?:n't| not) (?:exist|resolve|accept|have)|not (?:exist|resolv\w{1,4}|valid|be resolved|have)|must (?:exist|resolve)|unresolv\w{1,5}|no (?:valid )?(?:mx|a record|dns|a or mx)|null ?mx|cannot be resolved|could not be (?:found|resolved|verified)|non-existent|nonexistent|invalid|has no|unknown|not accept mail|unroutable)|\bdomain of sender|\bsender('s)? domain|\b(?:invalid|unallowed|disallowed|unresolvable|unroutable|unrouteable|bad|bogus|nonexistent|non-existent|nonexistent|unknown|illegal) (?:sender|envelope|return|mail from|from|originator)\b|\bsender (?:domain )?(?:must|resolve|lookup|unknown|invalid|denied|refused|rejected|not found|no(?:t)? (?:exist|valid|accepted|allowed)|dns|mx|reject)|\bsender address (?:rejected|refused|denied|invalid|is|has|does|not|domain|verification)|\bmail from\b[^;]{0,30}\b(?:invalid|rejected|not|error|denied|refused)|\bmailfrom\b|\bsender is (?:rejected|denied|not|invalid|refused|unknown)|\bsender (?:is |was |e-mail |email |e-mail address |email address )?rejected\b|\bhost denies the sender|\bnull (?:sender|reverse)|\b(?:empty|null|blank) (?:envelope )?(?:sender|from|return-?path)|\babsender|\bexpediteur|\bemetteur|\bremitente|\bremetente|\bmittente|\bnadawc|отправител|发件人|\bdomain resolve fail|\bblack mail address|\benvelope (?:sender|from)\b|\byour (?:\w{1,10} )?domain (?:\w{1,10} ){0,3}(?:does not exist|not found|must exist|does not resolve|no mx)|\bfrom: domain/,
    POSTFIX,
    [
      '450 4.1.8 <a@example.com>: Sender address rejected: Domain not found',
      '451 4.1.8 Domain of sender address a@example.com does not resolve',
      '553 5.7.27 <a@example.com>: Sender address rejected: Domain example.org does not accept mail (nullMX)',
      '553 sorry, your envelope sender domain must exist',
      '550 5.1.0 sender rejected',
    ],
  ),
]
