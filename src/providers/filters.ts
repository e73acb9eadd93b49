// Mail filters that stand before other people's mailboxes: Mimecast, Barracuda, Proofpoint, Email Security.cloud, Trend Micro, Cisco.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const MIMECAST =
  'https://mimecastsupport.zendesk.com/hc/en-us/articles/34000709564691-Policies-Mimecast-SMTP-Error-Codes'
const mimecastRule = sourced('Mimecast SMTP Error Codes', READ, MIMECAST)

export const mimecast: ProviderPolicy = {
  name: 'mimecast',
  mx: ['*.mimecast.com', '*.mimecast.co.za', '*.mimecast-offshore.com'],
  marks: [/\bmimecast\.(?:com|org)/],
  url: MIMECAST,
  concurrency: 10,
  messagesPerConnection: 100,
  source: SHAPING,
  date: READ,
  rules: [
    mimecastRule(
      'mimecast-greylist',
      'greylist',
      /internal resources? (?:is |are )?temporarily unavailable/i,
      '451 Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 [x]',
      {
        code: '4xx',
        retryAfter: '2m',
        advice:
          'Mimecast greylists first contacts: the same message passes when tried again after one minute, within 12 hours.',
      },
    ),
    mimecastRule(
      'mimecast-load',
      'server-busy',
      /unable to process (?:connection|an email|command)/i,
      '421 Unable to process connection at this time',
      { code: '4xx' },
    ),
    mimecastRule(
      'mimecast-account-connections',
      'concurrency',
      /account service is temporarily unavailable|outbound thread limit/i,
      ['451 Account service is temporarily unavailable', '550 Exceeding outbound thread limit'],
    ),
    mimecastRule(
      'mimecast-recipient-later',
      'recipient-unverified',
      /recipient temporarily unavailable/i,
      '451 Recipient temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 [x]',
      { code: '4xx' },
    ),
    mimecastRule(
      'mimecast-invalid-recipient',
      'recipient-unknown',
      /invalid recipient|user unknown/i,
      '550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [x]',
    ),
    mimecastRule(
      'mimecast-anti-spoofing',
      'authentication',
      /anti-spoofing/i,
      '550 Rejected by header based Anti-Spoofing policy: a@example.com - https://community.mimecast.com/docs/DOC-1369#550 [x]',
      { scope: 'sender' },
    ),
    mimecastRule(
      'mimecast-blocked-sender',
      'policy-other',
      /administrative prohibition|envelope (?:blocked|rejected - block)|blocked senders|sender address blocked|user (?:domain )?entry/i,
      [
        '550 Administrative prohibition - envelope blocked - https://community.mimecast.com/docs/DOC-1369#550 [x]',
        '550 Envelope blocked - User Entry - https://community.mimecast.com/docs/DOC-1369#550 [x]',
        '550 Rejected by header based manually Blocked Senders: a@example.com',
      ],
      { scope: 'message' },
    ),
    mimecastRule(
      'mimecast-list',
      'blocklist',
      /poor reputation sender|IP temporarily blacklisted/i,
      '550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs/DOC-1369#550 [x]',
    ),
    mimecastRule(
      'mimecast-ip-reputation',
      'reputation-ip',
      /IP Reputation|host network,? not allowed/i,
      '550 Local CT IP Reputation - (reject)',
    ),
    mimecastRule(
      'mimecast-open-relay',
      'relay-denied',
      /open relay/i,
      '451 Open relay not allowed - https://community.mimecast.com/docs/DOC-1369#451 [x]',
    ),
    mimecastRule(
      'mimecast-inbound-off',
      'recipient-disabled',
      /account (?:inbounds|outbounds) disabled/i,
      '451 Account inbounds disabled',
    ),
    mimecastRule(
      'mimecast-security-policy',
      'policy-other',
      /rejected due to security policies/i,
      '554 Email rejected due to security policies - https://community.mimecast.com/docs/DOC-1369#554 [x]',
      { scope: 'message' },
    ),
    mimecastRule(
      'mimecast-content',
      'content',
      /content examination|signature match|virus/i,
      '550 Message bounced due to Content Examination Policy',
    ),
    mimecastRule(
      'mimecast-tls',
      'tls-required',
      /this route requires (?:encryption|TLS|high-strength)/i,
      '553 This route requires encryption (TLS)',
    ),
    mimecastRule(
      'mimecast-mx',
      'dns',
      /incorrect hostname used for inbounds/i,
      '550 The incorrect hostname used for inbounds',
    ),
    mimecastRule('mimecast-loop', 'dns', /mail loop detected/i, '554 Mail loop detected'),
  ],
}

const barracudaRule = sourced(
  'SMTP Field Manual, Barracuda',
  READ,
  'https://www.barracudacentral.org/rbl/removal-request',
)

export const barracuda: ProviderPolicy = {
  name: 'barracuda',
  mx: ['*.barracudanetworks.com', '*.barracuda.com'],
  marks: [/\bcuda_nsu\b|\bbarracudanetworks\.com|\bbarracudacentral\.org\/r(?:bl|ep)/],
  concurrency: 10,
  messagesPerConnection: 15,
  source: SHAPING,
  date: READ,
  rules: [
    barracudaRule(
      'barracuda-greylist',
      'greylist',
      /greylist/i,
      '451 4.7.1 <a@example.com>: Recipient address rejected: Greylisted for 5 minutes',
    ),
    barracudaRule('barracuda-license', 'policy-other', /license expired/i, '422 License Expired', {
      scope: 'recipient',
    }),
    barracudaRule(
      'barracuda-user',
      'recipient-unknown',
      /no such user|user unknown|recipient address rejected: access denied/i,
      '550 cuda_nsu 5.1.1 <a@example.com>... User unknown',
      {},
    ),
    barracudaRule(
      'barracuda-abuse',
      'policy-other',
      /policy rejection/i,
      '450 cuda_nsu 4.7.1 <a@example.com>: Recipient address rejected: Policy Rejection- Abuse. Go away.',
      { scope: 'recipient' },
    ),
    barracudaRule(
      'barracuda-url',
      'content',
      /spam url|banned content/i,
      '554 rejected due to spam URL in content',
    ),
    barracudaRule(
      'barracuda-recipients',
      'policy-other',
      /permanent failure for one or more recipients/i,
      '550 permanent failure for one or more recipients (a@example.com:blocked)',
      { scope: 'message' },
    ),
  ],
}

const proofpointRule = sourced(
  'Proofpoint, Dynamic Reputation and Essentials help',
  READ,
  'https://ipcheck.proofpoint.com/',
)

export const proofpoint: ProviderPolicy = {
  name: 'proofpoint',
  mx: ['*.pphosted.com', '*.ppe-hosted.com', '*.gpphosted.com'],
  marks: [/\bipcheck\.proofpoint\.com|\bsupport\.proofpoint\.com/],
  url: 'https://ipcheck.proofpoint.com/',
  rules: [
    proofpointRule(
      'proofpoint-ipcheck',
      'reputation-ip',
      /ipcheck\.proofpoint\.com|dnsbl-lookup\.cgi/i,
      [
        '421 Deferred - see https://ipcheck.proofpoint.com/?ip=192.0.2.44',
        '554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.44',
      ],
      { scope: 'lane' },
    ),
    proofpointRule(
      'proofpoint-invalid',
      'recipient-unknown',
      /marked as invalid|not a valid email address/i,
      '550 5.7.1 <a@example.com>: Recipient address rejected: User email address is marked as invalid.',
    ),
    proofpointRule(
      'proofpoint-local-policy',
      'policy-other',
      /local policy violation/i,
      '550 5.7.0 Local Policy Violation',
      { scope: 'message' },
    ),
  ],
}

const SYMANTEC = 'https://knowledge.broadcom.com/external/article/164955'
const symantecRule = sourced('Broadcom knowledge base, Email Security.cloud', READ, SYMANTEC)

export const messagelabs: ProviderPolicy = {
  name: 'messagelabs',
  mx: ['*.messagelabs.com'],
  marks: [/\bmessagelabs\.com|\bsymanteccloud\.com|\bknowledge\.broadcom\.com/],
  url: SYMANTEC,
  rules: [
    symantecRule(
      'messagelabs-policy',
      'reputation-ip',
      /connection rejected by policy/i,
      '501 Connection rejected by policy [7.7] 20805, please visit www.messagelabs.com/support for more details about this error message.',
    ),
    symantecRule(
      'messagelabs-listed',
      'blocklist',
      /your IP is in the PBL|blacklisted/i,
      '553 mail rejected because your IP is in the PBL. See http://www.spamhaus.org/pbl',
    ),
    symantecRule(
      'messagelabs-badmailfrom',
      'sender-rejected',
      /badmailfrom|your (?:email address|domain) has been blocked/i,
      '553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)',
      {},
    ),
    symantecRule(
      'messagelabs-filtered',
      'content',
      /message filtered|filtered by outbound/i,
      '553 Message filtered. Refer to the Troubleshooting page at http://www.symanteccloud.com/troubleshooting for more information. (#5.7.1)',
    ),
    symantecRule(
      'messagelabs-tls',
      'tls-required',
      /TLS\/SSLv3 Connection required/i,
      '451 TLS/SSLv3 Connection required. (#4.7.1)',
    ),
    symantecRule(
      'messagelabs-recipient',
      'recipient-unknown',
      /mailbox is not allowed|invalid recipient/i,
      '553 Recipient mailbox is not allowed',
    ),
    symantecRule(
      'messagelabs-malformed',
      'content',
      /requested action aborted \[4\]|stray linefeeds/i,
      '553 Stray linefeeds in message (#5.6.2)',
    ),
    symantecRule(
      'messagelabs-aborted',
      'unknown',
      /requested action aborted \[\d{1,2}\]/i,
      '450 Requested action aborted [9] #-#, please visit https://knowledge.broadcom.com/external/article?legacyId=TECH246726 for more details about this error message.',
      { scope: 'message' },
    ),
  ],
}

const trendRule = sourced(
  'Trend Micro Email Security, success.trendmicro.com',
  READ,
  'https://ers.trendmicro.com/reputations',
)

export const trendmicro: ProviderPolicy = {
  name: 'trendmicro',
  mx: ['*.trendmicro.com', '*.trendmicro.eu', '*.trendmicro.co.jp'],
  marks: [/\bmail-abuse\.com|Trend Micro|\bBLOCK-(?:SEND-ER|RCPT)\b/],
  url: 'https://ers.trendmicro.com/reputations',
  rules: [
    trendRule(
      'trend-block',
      'policy-other',
      /BLOCK-(?:SEND-?ER|RCPT)/,
      '554 5.7.1 <a@example.com>: Recipient address rejected: BLOCK-SEND-ER.',
      { scope: 'recipient' },
    ),
    trendRule(
      'trend-no-domain',
      'relay-denied',
      /NO-DOMAIN/,
      '554 5.7.1 <a@example.com>: Recipient address rejected: NO-DOMAIN.',
      {},
    ),
    trendRule(
      'trend-rbl',
      'blocklist',
      /Trend Micro (?:RBL|Email Reputation)|mail-abuse\.com/i,
      '550 Service unavailable; Client host [192.0.2.5] blocked using Trend Micro RBL+. Please see http://www.mail-abuse.com/cgi-bin/lookup?ip_address=192.0.2.5',
    ),
    trendRule(
      'trend-recipient',
      'recipient-unknown',
      /Invalid-Recipient/,
      '554 5.7.1 <a@example.com>: Recipient address rejected: Invalid-Recipient.',
    ),
  ],
}

const ciscoRule = sourced(
  'Cisco Secure Email, user guide: SMTP responses',
  READ,
  'https://talosintelligence.com/reputation_center',
)

export const ironport: ProviderPolicy = {
  name: 'ironport',
  mx: ['*.iphmx.com', '*.ironport.com'],
  marks: [
    /\bsender ?base|\btalosintelligence|Your access to (?:submit messages to )?this (?:e-?mail|mail) system has been rejected/i,
  ],
  url: 'https://talosintelligence.com/reputation_center',
  rules: [
    ciscoRule(
      'cisco-domain-reputation',
      'reputation-domain',
      /poor reputation of a domain/i,
      '554 Your access to this mail system has been rejected due to poor reputation of a domain used in message transfer',
    ),
    ciscoRule(
      'cisco-access',
      'reputation-ip',
      /your access to (?:submit messages to )?this (?:e-?mail|mail) system has been rejected/i,
      "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation. If you believe that this failure is in error, please contact the intended recipient via alternate means.",
    ),
    ciscoRule(
      'cisco-recipients-hour',
      'rate-limit',
      /too many recipients received this hour/i,
      '452 #4.5.3 Too many recipients received this hour',
    ),
    ciscoRule(
      'cisco-address',
      'recipient-unknown',
      /#5\.1\.0 address rejected/i,
      '550 #5.1.0 Address rejected.',
      {},
    ),
    ciscoRule(
      'cisco-tls-sessions',
      'concurrency',
      /too many TLS sessions/i,
      '421 #4.4.5 Too many TLS sessions at this time',
      {},
    ),
  ],
}
