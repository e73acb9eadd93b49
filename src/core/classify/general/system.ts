// General rules about machines: routes and names that fail, lines that break, servers that are busy or ill, commands out of order.

import { BOUNCES, general, MANUAL, POSTFIX, QMAIL, RFC } from './rule.ts'

export const routing = [
  general(
    'mail-loop',
    'dns',
    /\bloop\w{0,3}\b|\btoo many hops|\bhop count|\bhops?\b[^.]{0,20}\bexceed|\btoo many received|\blooping message/,
    POSTFIX,
    [
      '554 5.4.14 Hop count exceeded - possible mail loop',
      '554 5.4.6 Error: too many hops',
      '450 4.4.6 Routing loop detected',
    ],
    { scope: 'recipient' },
  ),
  general(
    'dns-lookup',
    'dns',
    /\b(?:dns|name ?server|domain name|name service|nameserver|mx|mx record|a record)\b[^.;]{0,60}\b(?:fail\w{0,4}|error|not (?:found|exist|resolv\w{1,4})|time ?out|timed out|lookup|problem|server failure|servfail|nxdomain|unavailable|could not|no valid|invalid|loop|missing|records?)\b|\b(?:host|domain|name|hostname|destination) (?:name )?(?:\w{1,12} ){0,3}(?:not found|lookup fail\w{0,4}|does not (?:exist|resolve)|unknown|could not be (?:found|resolved)|cannot be (?:found|resolved)|unresolvable|unroutable|temporarily unresolvable|lookup did not complete)|\bcouldn't find any host|\bunroute?able|\bno mx\b|\bnull ?mx\b|\bunknown host|\bhost unknown|\bname (?:or )?service (?:not known|error)|\b(?:nxdomain|servfail)\b|\bno (?:such )?(?:host|domain)\b|\b(?:cannot|unable to|can't|could not) (?:resolve|route|lookup|find (?:a )?(?:route|host|mx))|\bunable to route|\bno route (?:for|exists|available)|\brouting (?:error|failure|problem)|\btemporary domain failure|\bwrong (?:office 365 )?region|\bmissing or invalid (?:dns|mx|records)|\bresolve\w{0,4} (?:fail|error)|\bmisconfigured mx|\bno relays? (?:available|configured)|\bbad destination (?:system|host)/,
    QMAIL,
    [
      "Sorry, I couldn't find any host named example.com. (#5.1.2)",
      'Unrouteable address',
      '452 temporary domain failure <a@example.com>',
      '451 4.4.3 Name server: host not found',
      '550 5.1.2 Host unknown (Name server: example.com: no data known)',
      '556 5.1.10 Recipient address has a null MX',
    ],
    { scope: 'recipient' },
  ),
]

export const lineFirst = [
  general(
    'line-log',
    'network',
    /^(?:\S{1,80} )?(?:connect(?:ion)? to|lost connection|conversation with|delivery temporarily suspended: (?:connect|lost|conversation))\b|\bnetwork is unreachable|\bno route to host|\bhost is unreachable/,
    POSTFIX,
    [
      'connect to mx.example.com[192.0.2.1]:25: Connection timed out',
      'lost connection with mx.example.com[192.0.2.1] while receiving the initial server greeting',
    ],
    { scope: 'connection' },
  ),
]

export const line = [
  general(
    'line-broken',
    'network',
    /\blost (?:input |incoming |output )?connection|\bconnection dropped|\bconnection (?:was |has been )?(?:refused|timed? ?out|reset|lost|dropped|closed (?:by|unexpectedly)|broken|failed|aborted|interrupted|error|terminated|died|attempt)|\b(?:network|host|no route|address family)\b[a-z ]{0,24}\b(?:unreachable|down|error|not reachable|to host)|\bno route to host|\boperation timed out|\blost connection|\b(?:unable|failed|wasn't able|could not|couldn't|cannot|can't) (?:to )?(?:establish|connect|reach|contact|open)\b|\bconnect(?:ion)? (?:to|with)? ?(?:\S{1,80} )?(?:failed|timed out|refused)|\bnetwork (?:is )?unreachable|\bbroken pipe|\becon\w{2,10}\b|\betimedout|\bsocket (?:error|closed|hang)|\bhost (?:is )?(?:unreachable|not responding|down)|\bno (?:answer|response) from (?:the )?(?:host|server|remote)|\bnot responding\b|\bconversation with|\bremote host (?:said nothing|closed)|\ball hosts (?:\w{1,12} ){0,5}(?:failing|failed|unreachable)|\bretry time not reached|\bbad connection|\bconnection died|\bi'm not going to try again|\btimed? ?out (?:while|waiting|connecting|during)|\bnext ?hop\b[^.;]{0,30}\b(?:fail|unreach|not)/,
    BOUNCES,
    ["451 Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"],
    { scope: 'connection' },
  ),
]

export const unwell = [
  general(
    'busy',
    'server-busy',
    /\b(?:service|server|system|mailbox|mail ?server|host|site|mail system|smtp|mta|resource|resources|backend|database|ldap|storage|store|queue|spool|disk|filesystem|memory|cpu|process(?:es)?|ports|directory|dienst|servidor|serveur|gateway|scanner|filter|cluster|sistema|systeme|node|mdb|we|i|domain|policy server|milter|plugin|load|traffic)\b[^.;]{0,50}\b(?:busy|unavailable|not available|overload\w{0,3}|temporar\w{0,4}|down|maintenance|full|error|fail\w{0,4}|not (?:ready|responding|operational|working)|problem\w{0,1}|shutting down|shutdown|too (?:high|heavy|busy)|low on|exhaust\w{0,3}|exceed\w{0,3}|insufficient|limit\w{0,3}|misconfigur\w{0,6}|out of|offline|restart\w{0,3}|stopped|unable|not accepting|currently|locked|nicht verfugbar|uberlastet|no disponible|indisponible|ocupado|indisponivel|being upgraded|timeout|timed out|unreachable|not functioning|under)\b|\b(?:busy|overloaded|unavailable|insufficient|out of|low|not enough|no (?:more )?(?:free )?|temporary|internal|local|system|unexpected|unknown internal|queue|database|ldap|disk|write|read|processing|configuration|backend|technical|transient|lookup) (?:\w{1,12} ){0,3}(?:server|service|system|storage|resources?|memory|disk|space|error|failure|problem|fault|fail|load|difficult\w{1,4}|trouble|issues?|queue|outage)\b|\bbusy\b|\b(?:is|are) (?:currently |temporarily )?(?:unavailable|down)\b|\bspace shortage|\bdisk full|\bunable to read|\bqq (?:trouble|temporary|write|read|out of|internal|timeout|crashed)|\btoo (?:busy|much load)|\bhigh load|\bload (?:average|too)|\boverload|\bserver busy|\bout of memory|\bmaintenance\b|\btry another (?:server|host|mx)|\bshutting down|\bclosing transmission channel|\bcannot (?:process|handle|accept|complete|queue|write|create|open|lock|allocate|store|save|connect to)|\bunable to (?:process|handle|accept|complete|queue|write|create|store|save|contact|deliver|append|chdir|lock|access|open|verify|scan|check)|\b(?:all|no) (?:server )?ports|\bcould not (?:load|process|write|store|open|create|lock|connect|complete|scan|queue)|\bqueue (?:file )?(?:write|is|error|full|unavailable|space)|\bmiddleware|\binterrupted system call|\bdefer(?:red)? because there is no|\bnot (?:currently |yet )?(?:available|ready|operational)\b|\boperation now in progress|\btemporary (?:failure|error|problem|condition|rejection|local|system|lookup|database|server|service|internal|issue)|\btemporarily (?:unable|unavailable|out of|overloaded|not available|closed|down)|\bunable to (?:currently|temporarily)|\bstorage\b|\bno healthy|\breplicat|\bservicio|\bdienst\b|\btemporaire|\bvorubergehend|\btemporal\b|\btemporariamente|\btempora(?:nea|neamente|ry)\b|\btymczasow|временн|\blocal (?:error|problem|configuration)|\bconfiguration (?:error|problem)|\bplugin (?:timed|error|crash)|\binternal\b[a-z ]{0,20}\berror|\bsystem (?:error|failure|problem|config)|\bmail system\b/,
    MANUAL,
    [
      '421 Service Temporarily Unavailable',
      '421 Temporary failure, please try again later.',
      '421 4.3.2 All server ports are busy',
      '452 4.3.1 Insufficient system storage',
      '451 4.3.5 Server configuration problem',
      '450 out of memory.',
      '421 Server too busy.',
      '421 mx.example.org: Too much load; please try again later',
      '451 4.3.0 Temporary lookup failure',
      '421 4.3.0 Mail system error',
      '451 4.7.1 Service unavailable - try again later',
    ],
    { code: '4xx' },
  ),
  general(
    'ill',
    'server-busy',
    /\b(?:service|server|system|resources?) (?:is )?(?:currently |temporarily )?(?:unavailable|busy|not available|overloaded|error|failure|down|failed)\b|\b(?:internal|local|system|configuration|database|ldap|disk|queue|temporary|technical|unexpected) (?:\w{1,12} ){0,2}(?:error|failure|problem|fault)|\binsufficient (?:system )?(?:storage|resources|disk)|\bserver (?:configuration )?(?:error|problem)|\btemporarily unavailable|\bcould not load|\bsystem config|\bmaintenance\b|\bservice shut|\bmail system (?:error|failure|full)|\bout of memory|\bunable to (?:process|queue|write|complete|store)/,
    RFC,
    [
      '554 5.3.0 Internal server error',
      '550 System error, service unavailable',
      '552 5.3.1 Insufficient system storage',
    ],
    {},
  ),
]

export const commandsFirst = [
  general(
    'sequence',
    'protocol',
    /\b(?:bad|wrong|invalid|out of|improper|incorrect|unexpected) (?:\w{1,10} )?(?:sequence|order|command sequence)\b|\bout of (?:sequence|order)|\bsequence (?:error|of commands)|\bneed (?:mail|rcpt|helo|ehlo|data)\b|\b(?:send|say|issue|use|polite people say|requires?) (?:\w{1,8} )?(?:helo|ehlo|hello|lhlo)\b|\b(?:say|issue|need) (?:a |the )?(?:mail|rcpt)\b(?! server)|\b(?:no|without|missing|not given|first|nested|already|duplicate|sender already|one) (?:\w{1,10} )?(?:mail|rcpt|helo|ehlo|mail from|rcpt to|data|sender|recipients?|from)(?: \w{1,10}){0,2} (?:command|specified|given|first|established|already)|\bmust precede\b|\bnot yet (?:given|specified)|\bwhen not advertised|\bnested mail|\bmail first|\brcpt first|\bsay (?:hi|helo|hello)|\balready (?:specified|in progress)|\bno valid recipients\b|\bdata without|\bno recipients?(?: have been)? (?:specified|accepted|given)|\bpipelin|\bsynchroni[sz]ation|\bcommands? (?:pipelined|before|sent)|\bprotocol (?:violation|error|synchroni|failure)|\bunauthori[sz]ed command|\bimproper (?:use|command)|\bearly ?talk|\bpregreet|\bbefore (?:the )?greeting|\btalk(?:ed)? before/,
    POSTFIX,
    [
      '503 5.5.1 Error: need MAIL command',
      '503 Bad sequence of commands',
      '554 SMTP synchronization error',
      '503 5.5.1 Error: send HELO/EHLO first',
      '503 Sender already specified',
    ],
    {},
  ),
]

export const commands = [
  general(
    'errors-session',
    'protocol',
    /\btoo many (?:\w{1,12} ){0,2}(?:errors?|bad commands?|commands?|unrecognized|syntax|protocol|invalid commands|rejections|failures|rejected|failed (?:commands|recipients|transactions|rcpt)|nonmail|non-?mail|junk commands)\b|\btoo many (?:unknown|invalid) commands|\berror limit|\bmax(?:imum)? (?:number of )?errors|\bzu viele fehler/,
    POSTFIX,
    ['421 4.7.0 mx.example.org Error: too many errors', '421 too many unrecognized commands'],
    {},
  ),
  general(
    'syntax',
    'protocol',
    /\bsyntax\b|\b(?:command|parameter|argument|verb|option|keyword|extension)s?\b[^.;]{0,40}\b(?:not (?:recogni[sz]ed|implemented|supported|understood|allowed|known|valid)|unrecogni[sz]ed|unknown|unimplemented|invalid|disabled|missing|too long|unsupported|error|failed|expected)|\b(?:unrecogni[sz]ed|unknown|invalid|bad|illegal|unsupported|unimplemented|unexpected) (?:\w{1,10} )?(?:command|parameter|argument|verb|smtp|keyword|option)s?\b|\bnot implemented|\bline (?:too long|parse error|longer than)|\bunexpected (?:data|input)|\bparameters?\b|\bunimplemented|\bi don't understand|\bwhat\?|\bparse error|\bprotocol\b/,
    RFC,
    [
      '500 5.5.2 Error: bad syntax',
      '501 Syntax error in parameters or arguments',
      '502 5.5.2 Error: command not recognized',
      '504 Command parameter not implemented',
    ],
    {},
  ),
]
