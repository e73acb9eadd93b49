// Gmail and Google Workspace, and their submission hosts. One pool of limits serves both.

import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const URL = 'https://support.google.com/a/answer/3726730'
const rule = sourced('Gmail SMTP errors and codes, support.google.com/a/answer/3726730', READ, URL)
const GUIDELINES = 'https://support.google.com/mail/answer/81126'

const receiving: readonly ReplyRule[] = [
  rule(
    'gmail-message-id-quota',
    'rate-limit',
    /quota for sending messages with the same Message-ID/i,
    '421 4.7.28 Gmail has detected this message exceeded its quota for sending messages with the same Message-ID:. To best protect our users, the message has been temporarily rejected.',
    { scope: 'message' },
  ),
  rule(
    'gmail-unusual-rate-blocked',
    'reputation-ip',
    /unusual rate of unsolicited mail[^.]{0,80}\.[^.]{0,80}has been blocked/i,
    '550 5.7.1 Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been blocked.',
    { code: '5xx', persistence: 'permanent', url: GUIDELINES },
  ),
  rule(
    'gmail-unusual-rate',
    'rate-limit',
    /unusual rate of (?:unsolicited )?mail/i,
    '421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited.',
    { code: '4xx', retryAfter: '30m', url: GUIDELINES },
  ),
  rule(
    'gmail-receiving-rate-permanent',
    'recipient-rate',
    /receiving mail (?:at a rate|too quickly)/i,
    '550-5.2.1 The user you are trying to contact is receiving mail at a rate\n550 5.2.1 that prevents additional messages from being delivered.',
    { code: '5xx', persistence: 'permanent' },
  ),
  rule(
    'gmail-smtp-relay-limit',
    'quota-sender',
    /daily (?:smtp relay|user) (?:sending )?limit exceeded|daily sending quota exceeded/i,
    '550 5.7.1 Daily SMTP relay limit exceeded for customer.',
    { scope: 'sender' },
  ),
  rule(
    'gmail-relay-peak',
    'rate-limit',
    /peak smtp relay limit exceeded/i,
    '450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.',
    { scope: 'sender' },
  ),
  rule(
    'gmail-content-nature',
    'content',
    /suspicious due to the nature of the content/i,
    '421 4.7.0 Our system has detected that this message is suspicious due to the nature of the content and/or the links within.',
    {},
  ),
  rule(
    'gmail-unsolicited',
    'content',
    /likely unsolicited mail/i,
    '550 5.7.1 [192.0.2.1] Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked.',
    {},
  ),
  rule(
    'gmail-temporary-reject',
    'unknown',
    /mail server (?:has )?temporarily rejected (?:this )?message/i,
    '451 4.3.0 Mail server temporarily rejected message. - gsmtp',
    { scope: 'message' },
  ),
  rule(
    'gmail-tls-bulk',
    'tls-required',
    /wasn't sent over a TLS connection|senders to use TLS/i,
    "421 4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection. Gmail requires all bulk email senders to use TLS/SSL for SMTP connections.",
  ),
  rule(
    'gmail-dmarc-dns',
    'dns',
    /temporary DNS failures prevent authentication/i,
    "451 4.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy, but temporary DNS failures prevent authentication.",
    { scope: 'sender' },
  ),
  rule(
    'gmail-not-authorized-ip',
    'reputation-ip',
    /is not authorized to send email directly to our servers/i,
    "550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers.",
  ),
  rule(
    'gmail-whitelist',
    'policy-other',
    /IP not in whitelist/i,
    '421 4.7.0 IP not in whitelist for RCPT domain, closing connection.',
    { scope: 'recipient' },
  ),
  rule(
    'gmail-try-closing',
    'unknown',
    /^421.{0,12}Try again later, closing connection/i,
    '421 4.7.0 Try again later, closing connection. (HELO)',
    { scope: 'lane' },
  ),
  rule(
    'gmail-policy-prohibited',
    'policy-other',
    /has a policy that prohibited/i,
    '550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail that you sent.',
    { scope: 'message' },
  ),
  rule(
    'gmail-relay-denied',
    'relay-denied',
    /mail relay denied|invalid credentials for relay/i,
    '550 5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay for one of the domains in: example.com',
    { scope: 'sender' },
  ),
  rule(
    'gmail-sending-denied',
    'sender-rejected',
    /mail sending denied/i,
    '550 5.7.0 Mail Sending denied. This error occurs if the sender account is disabled',
    {},
  ),
  rule(
    'gmail-message-limits',
    'message-too-large',
    /exceed(?:ed|s) Google's/i,
    "552 5.3.4 The number of attachments (101) exceeds Google's limit of 100 attachments.",
  ),
  rule(
    'gmail-email-quota',
    'quota-sender',
    /^550.{0,8}Email quota exceeded/i,
    '550 5.7.1 Email quota exceeded. For more information, go to Limits for sending & getting mail',
    {},
  ),
  rule(
    'gmail-ipv6',
    'reverse-dns',
    /IPv6 sending guidelines/i,
    '550 5.7.1 This message does not meet IPv6 sending guidelines regarding PTR records and authentication.',
    {},
  ),
  rule(
    'gmail-out-of-storage',
    'mailbox-full',
    /inbox is out of storage/i,
    "452 4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaTemp",
  ),
  rule(
    'gmail-login-system',
    'server-busy',
    /cannot authenticate due to (?:a )?temporary system problem/i,
    '454 4.7.0 Cannot authenticate due to a temporary system problem. Try again later.',
    { scope: 'sender' },
  ),
  rule(
    'gmail-protocol',
    'protocol',
    /SMTP protocol violation|too many unauthenticated commands/i,
    '451 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS, see RFC 3207.',
  ),
]

export const gmail: ProviderPolicy = {
  name: 'gmail',
  domains: ['gmail.com', 'googlemail.com'],
  mx: ['*.google.com', '*.googlemail.com'],
  marks: [
    /\bgsmtp\b/,
    /\bgcdp\b/,
    /\bsupport\.google\.com\/(?:mail|a)\b/,
    /\bGmail (?:requires|has detected|does not)\b/,
  ],
  url: URL,
  lane: 'gmail',
  concurrency: 5,
  messagesPerConnection: 50,
  source: SHAPING,
  date: READ,
  rules: receiving,
}

export const gmailSubmission: ProviderPolicy = {
  name: 'gmail-submission',
  mx: ['smtp.gmail.com', 'smtp-relay.gmail.com', 'smtp.googlemail.com'],
  marks: [/\bgsmtp\b/],
  role: 'submission',
  url: URL,
  rules: receiving,
}
