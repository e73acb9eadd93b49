// Mail hosts for other people's domains: GoDaddy, Rackspace, Titan, Zoho, ImprovMX, Cloudflare; and Facebook's own codes.

import type { Cause, Persistence } from '../core/cause.ts'
import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, sourced } from './sourced.ts'

const GODADDY = 'https://www.godaddy.com/help/fix-rejected-email-with-a-bounce-error-40685'
const godaddyRule = sourced('GoDaddy, Fix rejected email with a bounce error', READ, GODADDY)

const IB: readonly (readonly [codes: string, name: string, cause: Cause, sample: string, persistence?: Persistence])[] = [
  ['IB007', 'sessions', 'concurrency', '421 Connection refused, too many sessions from 192.0.2.1. IB007'],
  ['IB101', 'busy', 'server-busy', '421 Server temporarily unavailable. Try again later. IB101'],
  ['IB108', 'rdns', 'reverse-dns', '421 Temporarily rejected. Reverse DNS for 192.0.2.1 failed. IB108'],
  ['IB103|IB104|IB105|IB106', 'listed', 'blocklist', '554 Connection refused. 192.0.2.1 is listed on the Exploits Block List (XBL). IB105'],
  ['IB110|IB111|IB112|IB113', 'blocked-today', 'reputation-ip', '554 This IP has been blocked for the day, for attempting to mail too many invalid recipients. IB113', 'transient'],
  ['IB212', 'content', 'content', '552 This message has been rejected due to content judged to be spam by the internet community IB212'],
  ['IB705', 'virus', 'content', '552 Virus infected message rejected. IB705'],
  ['IB401', 'login', 'auth-credentials', '535 Authentication not allowed on IBSMTP Servers. IB401'],
  ['IB501|IB502|IB506', 'from', 'sender-rejected', '550 coolexample.com From: Domain is invalid. Provide a valid From: IB506'],
  ['IB508', 'spf', 'authentication', '550 a@example.com Invalid SPF record. Inspect your SPF settings, and try again. IB508'],
  ['IB504|IB607', 'hour', 'rate-limit', '550 192.0.2.8> This IP has sent too many messages this hour. IB504', 'transient'],
  ['IB510', 'session', 'connection-recycle', '550 192.0.2.8> This message has exceded the max number of messages per session. Please open a new session and try again. IB510', 'transient'],
  ['IB605', 'recipients', 'too-many-recipients', '452 This message contains too many recipients. Reduce the number of recipients and retry. IB605'],
] // biome-ignore format: one line each

export const godaddy: ProviderPolicy = {
  name: 'godaddy',
  mx: ['*.secureserver.net'],
  marks: [/\bIB\d{3}\b/, /\bsecureserver\.net|\bbizsmtp\b/],
  url: GODADDY,
  rules: [
    ...IB.map(
      ([codes, name, cause, sample, persistence]): ReplyRule =>
        godaddyRule(
          `godaddy-${name}`,
          cause,
          new RegExp(`\\b(?:${codes})\\b`),
          sample,
          persistence === undefined ? {} : { persistence },
        ),
    ),
    godaddyRule(
      'godaddy-rbl',
      'blocklist',
      /\bRBL Reject\b/i,
      '554 RBL Reject. <https://www.secureserver.net/>',
    ),
  ],
}

export const godaddySubmission: ProviderPolicy = {
  name: 'godaddy-submission',
  mx: [
    'smtpout.secureserver.net',
    '*.smtpout.secureserver.net',
    'dedrelay.secureserver.net',
    'relay-hosting.secureserver.net',
  ],
  role: 'submission',
  url: GODADDY,
}

const rackspaceRule = sourced(
  'Rackspace postmaster, smtp.codes/rackspace',
  READ,
  'https://smtp.codes/rackspace',
)

export const rackspace: ProviderPolicy = {
  name: 'rackspace',
  mx: ['*.emailsrvr.com'],
  marks: [/\(G[0-9A-F]{1,2}\)/, /\bemailsrvr\.com/],
  url: 'https://smtp.codes/rackspace',
  rules: [
    rackspaceRule(
      'rackspace-connections',
      'concurrency',
      /\(G2\)/,
      '421 Too many concurrent connections from this client (G2)',
    ),
    rackspaceRule(
      'rackspace-ptr',
      'reverse-dns',
      /\(G1F\)/,
      '450 4.7.1 Client host 192.0.2.10 has no PTR record (G1F)',
    ),
    rackspaceRule(
      'rackspace-callout',
      'recipient-unverified',
      /\(G6\)/,
      "450 4.4.1 <a@example.com>: The recipient's server was temporarily unavailable to accept your message (G6)",
    ),
    rackspaceRule(
      'rackspace-mailbox-rate',
      'recipient-rate',
      /\(G30\)/,
      '450 4.2.1 <a@example.com>: Mailbox received too much email in a short period of time (G30)',
    ),
    rackspaceRule(
      'rackspace-untrusted',
      'rate-limit',
      /\(G28\)/,
      '451 4.7.1 Received too many messages from a new or untrusted IP (G28)',
    ),
    rackspaceRule('rackspace-loop', 'dns', /\(G16\)/, '450 4.4.6 Routing loop detected (G16)'),
    rackspaceRule(
      'rackspace-dmarc-dns',
      'dns',
      /\(G1E\)/,
      '450 4.4.0 <a@example.com> Temporary DMARC DNS lookup failure (G1E)',
      { scope: 'sender' },
    ),
    rackspaceRule(
      'rackspace-dmarc',
      'authentication',
      /\(G15\)/,
      '550 5.7.1 Email rejected per DMARC policy for example.com (G15)',
    ),
  ],
}

const TITAN =
  'https://support.titan.email/hc/en-us/articles/35175377981977-Understanding-Incoming-Email-Reject-Codes'
const titanRule = sourced('Titan, Understanding Incoming Email Reject Codes', READ, TITAN)

export const titan: ProviderPolicy = {
  name: 'titan',
  mx: ['mx1.titan.email', 'mx2.titan.email', '*.titan.email'],
  marks: [/\btitan\.email/],
  url: TITAN,
  rules: [
    titanRule(
      'titan-recipient-quota',
      'recipient-rate',
      /recipient quota exceeded|recipients domain hourly quota exceeded/i,
      '550 5.4.6 <a@example.com>: Recipient address rejected: Recipient Quota Exceeded;',
      { persistence: 'transient', retryAfter: '1h' },
    ),
    titanRule(
      'titan-ip',
      'reputation-ip',
      /sending IP has insufficient reputation/i,
      '421 4.7.0: Sender IP rejected: sending IP has insufficient reputation. Please retry later.',
    ),
    titanRule('titan-command', 'unknown', /^554 5\.7\.1 command rejected/i, '554 5.7.1 command rejected', {
      scope: 'message',
    }),
  ],
}

const zohoRule = sourced('SMTP Field Manual and Zoho help', READ, 'https://www.zoho.com/mail/help/')

export const zoho: ProviderPolicy = {
  name: 'zoho',
  domains: ['zoho.com', 'zohomail.com', 'zoho.eu', 'zoho.in', 'zohomail.eu', 'zohomail.in'],
  mx: ['*.zoho.com', '*.zoho.eu', '*.zoho.in', '*.zoho.com.au', '*.zohomail.com'],
  marks: [/\bZoho\b|mx\.zoho\.(?:com|eu|in)/],
  url: 'https://www.zoho.com/mail/help/',
  rules: [
    zohoRule(
      'zoho-policy',
      'policy-other',
      /mail rejected by destination domain|MailPolicy violation|restricted by policy error|delivery failure policy error/i,
      [
        '541 5.4.1 Mail rejected by destination domain',
        '554 5.2.3 MailPolicy violation Error delivering to mailboxes',
      ],
      { scope: 'recipient' },
    ),
    zohoRule(
      'zoho-unusual',
      'rate-limit',
      /unusual sending activity/i,
      '550 5.4.6 Unusual sending activity detected. Please try after sometime',
      { persistence: 'transient', scope: 'sender' },
    ),
    zohoRule(
      'zoho-relay-as',
      'sender-rejected',
      /relaying disallowed as/i,
      '553 Relaying disallowed as a@example.com',
    ),
  ],
}

const improvRule = sourced('SMTP Field Manual, ImprovMX', READ, 'https://improvmx.com/guides/')

export const improvmx: ProviderPolicy = {
  name: 'improvmx',
  mx: ['*.improvmx.com'],
  marks: [/\(#id-5\.9\.\d\)/, /\bimprovmx\.com/],
  rules: [
    improvRule(
      'improvmx-later',
      'unknown',
      /please try again later\. \(#id-5\.9\.4\)/i,
      '450 4.2.1 Please try again later. (#id-5.9.4)',
      { scope: 'recipient' },
    ),
    improvRule(
      'improvmx-domain',
      'relay-denied',
      /domain not found/i,
      '551 5.7.1 Domain not found (#id-5.9.2)',
      { scope: 'recipient' },
    ),
    improvRule(
      'improvmx-database',
      'server-busy',
      /our database returned|unable to correctly read/i,
      "551 5.7.1 Our database returned invalid pieces of information about the requested recipient's domain (#id-5.9.3)",
      { scope: 'recipient' },
    ),
  ],
}

const cloudflareRule = sourced(
  'Cloudflare Email Routing postmaster',
  READ,
  'https://developers.cloudflare.com/email-routing/postmaster/',
)

export const cloudflare: ProviderPolicy = {
  name: 'cloudflare',
  mx: ['*.mx.cloudflare.net'],
  marks: [/\bdevelopers\.cloudflare\.com\/email-routing/],
  url: 'https://developers.cloudflare.com/email-routing/postmaster/',
  rules: [
    cloudflareRule(
      'cloudflare-listed',
      'blocklist',
      /found on one or more (?:DNS|R)BLs/i,
      '554 192.0.2.1 found on one or more DNSBLs (abusixip). Refer to https://developers.cloudflare.com/email-routing/postmaster/#spam-and-abusive-traffic/',
    ),
    cloudflareRule(
      'cloudflare-upstream',
      'server-busy',
      /upstream error/i,
      '521 5.3.0 Upstream error, please check https://developers.cloudflare.com/email-routing/postmaster for possible reasons why.',
      { scope: 'recipient' },
    ),
  ],
}

const FACEBOOK = 'http://postmaster.facebook.com/response_codes'
const facebookRule = sourced('Facebook postmaster, response codes', READ, FACEBOOK)
const FACEBOOK_CODES: readonly (readonly [codes: string, cause: Cause])[] = [
  ['POL-P7', 'authentication'],
  ['POL-P1', 'blocklist'],
  ['POL-P[234]|POL-T[123]', 'reputation-ip'],
  ['MSG-P[23]|POL-P[568]', 'content'],
  ['RCP-P[23]', 'policy-other'],
  ['INT-P7', 'mailbox-full'],
  ['MSG-P1|INT-P2', 'message-too-large'],
  ['DNS-P[12]|DNS-T1', 'sender-rejected'],
  ['DNS-P3|DNS-T2', 'reverse-dns'],
  ['RCP-T4', 'recipient-disabled'],
  ['RCP-T1|INT-T\\d', 'server-busy'],
  ['CON-T[12]', 'concurrency'],
  ['CON-T3', 'rate-limit'],
  ['CON-T4|MSG-T1', 'too-many-recipients'],
  ['RCP-P1|INT-P[134]', 'recipient-unknown'],
] // biome-ignore format: one line each

export const facebook: ProviderPolicy = {
  name: 'facebook',
  domains: ['facebook.com'],
  mx: ['*.facebook.com'],
  marks: [/\bpostmaster\.facebook\.com/],
  url: FACEBOOK,
  rules: FACEBOOK_CODES.map(([codes, cause]): ReplyRule => {
    const code = codes.replace(/\|.*|\[(.).*/, '$1').replace('\\d', '1')
    return facebookRule(
      `facebook-${code.toLowerCase()}`,
      cause,
      new RegExp(`\\b(?:${codes})\\b`),
      `${/-T/.test(code) ? 421 : 550} 5.7.1 ${code} http://postmaster.facebook.com/response_codes?ip=192.0.2.1`,
      cause === 'policy-other' ? { scope: 'recipient' } : {},
    )
  }),
}
