// Submission relays: their limits speak of one's own account, so they hold the egress, not a recipient's lane.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, sourced } from './sourced.ts'

const SES = 'https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html'
const sesRule = sourced('Amazon SES developer guide, errors of sending quotas and SMTP responses', READ, SES)

export const amazonSes: ProviderPolicy = {
  name: 'amazon-ses',
  mx: ['*.amazonaws.com', '*.amazonses.com'],
  marks: [/Throttling failure|\bamazonaws\.com|\bses:Send/],
  role: 'submission',
  url: SES,
  rules: [
    sesRule(
      'ses-daily',
      'quota-sender',
      /daily (?:message|sending) quota exceeded/i,
      '454 Throttling failure: Daily message quota exceeded',
    ),
    sesRule(
      'ses-rate',
      'rate-limit',
      /maximum send(?:ing)? rate exceeded/i,
      '454 Throttling failure: Maximum sending rate exceeded',
      { scope: 'sender', retryAfter: '10s' },
    ),
    sesRule(
      'ses-unverified',
      'sender-rejected',
      /address is not verified/i,
      '554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@example.com',
    ),
    sesRule(
      'ses-suppressed',
      'recipient-disabled',
      /on the (?:account-level )?suppression list/i,
      '554 Message rejected: Address is on the suppression list for your account',
      {},
    ),
    sesRule(
      'ses-paused',
      'policy-other',
      /sending (?:is )?(?:paused|suspended)|account is (?:paused|in probation)/i,
      '454 Message rejected: Sending paused for this account.',
      { scope: 'sender' },
    ),
    sesRule(
      'ses-denied',
      'auth-credentials',
      /is not authorized to perform/i,
      "554 Access denied: User `arn:aws:iam::123456789012:user/ses' is not authorized to perform `ses:SendRawEmail' on resource",
    ),
  ],
}

const sendgridRule = sourced(
  'Twilio SendGrid, SMTP errors and troubleshooting',
  READ,
  'https://www.twilio.com/docs/sendgrid',
)

export const sendgrid: ProviderPolicy = {
  name: 'sendgrid',
  mx: ['*.sendgrid.net'],
  marks: [/\bsendgrid/i],
  role: 'submission',
  url: 'https://www.twilio.com/docs/sendgrid',
  rules: [
    sendgridRule(
      'sendgrid-limit',
      'quota-sender',
      /exceeded your messaging limits|maximum credits exceeded/i,
      ["451 You've exceeded your messaging limits", '451 Authentication failed: Maximum credits exceeded'],
      { persistence: 'transient' },
    ),
    sendgridRule(
      'sendgrid-identity',
      'sender-rejected',
      /verified sender identity/i,
      '550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.',
    ),
    sendgridRule(
      'sendgrid-login',
      'auth-credentials',
      /unauthenticated senders|authentication required|bad username/i,
      '550 Unauthenticated senders not allowed',
    ),
  ],
}

const cpanelRule = sourced(
  'cPanel, Exim configuration: mail limits',
  READ,
  'https://docs.cpanel.net/knowledge-base/email/',
)

export const cpanel: ProviderPolicy = {
  name: 'cpanel',
  marks: [/has exceeded the max (?:emails|defers)|max defers and failures|Outgoing mail from "/i],
  role: 'submission',
  url: 'https://docs.cpanel.net/knowledge-base/email/',
  rules: [
    cpanelRule(
      'cpanel-hourly-discarded',
      'quota-sender',
      /has exceeded the max (?:emails|defers and failures) per hour .{0,60}discarded/i,
      'Domain example.com has exceeded the max emails per hour (3/2 (150%)) allowed. Message discarded.',
      { persistence: 'permanent' },
    ),
    cpanelRule(
      'cpanel-hourly',
      'quota-sender',
      /has exceeded the max (?:emails|defers and failures) per hour/i,
      'Domain example.com has exceeded the max emails per hour (2/2 (100%)) allowed. Message will be reattempted later',
      { persistence: 'transient', retryAfter: '1h' },
    ),
    cpanelRule(
      'cpanel-suspended',
      'policy-other',
      /Outgoing mail from "/i,
      'Outgoing mail from "a@example.com" has been suspended.',
      { scope: 'sender', persistence: 'permanent' },
    ),
  ],
}

const mailhostboxRule = sourced('Mailhostbox (Titan) submission limits', READ)

export const mailhostbox: ProviderPolicy = {
  name: 'mailhostbox',
  mx: ['*.mailhostbox.com', 'smtp.titan.email'],
  role: 'submission',
  rules: [
    mailhostboxRule(
      'mailhostbox-quota',
      'quota-sender',
      /sending quota exceeded/i,
      '550 5.4.5 <a@example.com>: Recipient address rejected: Domain Sending Quota Exceeded',
      { persistence: 'transient' },
    ),
  ],
}

const ovhRule = sourced('OVHcloud, e-mail sending limits', READ, 'https://help.ovhcloud.com/')
const smtp2goRule = sourced('SMTP2GO support, SMTP error codes', READ, 'https://support.smtp2go.com/')
const brevoRule = sourced('Brevo help, SMTP errors', READ, 'https://help.brevo.com/')
const mailgunRule = sourced('Mailgun help, SMTP errors', READ, 'https://help.mailgun.com/')
const postmarkRule = sourced(
  'Postmark developer documentation, SMTP errors',
  READ,
  'https://postmarkapp.com/developer',
)

export const otherSubmission: readonly ProviderPolicy[] = [
  {
    name: 'mailgun',
    mx: ['*.mailgun.org', '*.mailgun.net', '*.mailgun.com'],
    marks: [/\bmailgun/i],
    role: 'submission',
    url: 'https://help.mailgun.com/',
    rules: [
      mailgunRule(
        'mailgun-limit',
        'quota-sender',
        /(?:recipient|message|sending) limit exceeded/i,
        '421 Domain example.com is not allowed to send: recipient limit exceeded, try again later',
      ),
      mailgunRule(
        'mailgun-sandbox',
        'policy-other',
        /sandbox subdomains|free accounts are for test/i,
        '550 Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients',
        { scope: 'sender' },
      ),
      mailgunRule(
        'mailgun-domain',
        'policy-other',
        /is not allowed to send/i,
        '550 5.7.1 Domain example.com is not allowed to send: Please contact support',
        { scope: 'sender' },
      ),
    ],
  },
  {
    name: 'smtp2go',
    mx: ['*.smtp2go.com'],
    marks: [/\bsmtp2go/i],
    role: 'submission',
    url: 'https://support.smtp2go.com/',
    rules: [
      smtp2goRule(
        'smtp2go-suspended',
        'policy-other',
        /account has been suspended/i,
        '550 that smtp2go account has been suspended',
        { scope: 'sender' },
      ),
      smtp2goRule(
        'smtp2go-limit',
        'quota-sender',
        /(?:hourly|monthly|daily)(?: \w{1,12})? limit|quota/i,
        '550 You have exceeded your monthly quota',
        { persistence: 'transient' },
      ),
    ],
  },
  {
    name: 'brevo',
    mx: ['*.brevo.com', '*.sendinblue.com'],
    role: 'submission',
    url: 'https://help.brevo.com/',
    rules: [
      brevoRule(
        'brevo-not-activated',
        'policy-other',
        /account is not (?:yet )?activated|account is suspended/i,
        '525 5.7.13 Your SMTP account is not yet activated',
        { scope: 'sender' },
      ),
      brevoRule(
        'brevo-sender',
        'sender-rejected',
        /sender .{0,80}is not (?:valid|verified)/i,
        '550 Sending has been rejected because the sender you used a@example.com is not valid.',
      ),
    ],
  },
  {
    name: 'postmark',
    mx: ['*.postmarkapp.com'],
    role: 'submission',
    url: 'https://postmarkapp.com/developer',
    rules: [
      postmarkRule(
        'postmark-inactive',
        'recipient-disabled',
        /inactive recipient|marked as inactive/i,
        '550 5.1.1 You tried to send to a recipient that has been marked as inactive',
      ),
      postmarkRule(
        'postmark-sender',
        'sender-rejected',
        /sender signature/i,
        '550 5.7.1 The From address you supplied is not a Sender Signature on your account',
      ),
      postmarkRule(
        'postmark-pending',
        'policy-other',
        /account is pending approval/i,
        '550 5.7.1 While your account is pending approval, all recipient addresses must share the same domain',
        { scope: 'sender' },
      ),
    ],
  },
  {
    name: 'ovh',
    mx: [
      'ssl0.ovh.net',
      'smtp.mail.ovh.net',
      'pro1.mail.ovh.net',
      'pro2.mail.ovh.net',
      'pro3.mail.ovh.net',
      'ex5.mail.ovh.net',
    ],
    role: 'submission',
    caps: '200/h',
    source: 'OVHcloud, e-mail sending limits: 200 an hour an account',
    date: READ,
    url: 'https://help.ovhcloud.com/',
    rules: [
      ovhRule(
        'ovh-limit',
        'quota-sender',
        /(?:hourly|daily)(?: sending)? limit|too many (?:mails|messages)|outbound spam/i,
        '450 4.7.1 Your account has reached its hourly sending limit. Please try again in an hour',
      ),
    ],
  },
  // Relays of which only the host names are needed: their limits are told by the general rules.
  ...[
    { name: 'mailjet', mx: ['*.mailjet.com'] },
    { name: 'sparkpost', mx: ['*.sparkpostmail.com', '*.sparkpost.com'] },
    { name: 'mandrill', mx: ['*.mandrillapp.com'] },
    { name: 'mailchannels', mx: ['*.mailchannels.net'] },
    { name: 'mailersend', mx: ['*.mailersend.net'] },
    { name: 'elastic-email', mx: ['*.elasticemail.com', '*.elasticemail.net'] },
    { name: 'resend', mx: ['smtp.resend.com'] },
    { name: 'zeptomail', mx: ['*.zeptomail.com', '*.zeptomail.eu', '*.zeptomail.in'] },
    { name: 'alibaba-directmail', mx: ['smtpdm.aliyun.com', '*.smtpdm.aliyun.com'] },
    { name: 'mailtrap', mx: ['*.mailtrap.io'] },
    { name: 'dreamhost-submission', mx: ['smtp.dreamhost.com'] },
    { name: 'fastmail-submission', mx: ['smtp.fastmail.com'] },
    { name: 'hostinger-submission', mx: ['smtp.hostinger.com'] },
    { name: 'gandi-submission', mx: ['mail.gandi.net'] },
    { name: 'infomaniak-submission', mx: ['mail.infomaniak.com'] },
    { name: 'aruba-submission', mx: ['smtps.aruba.it', 'smtp.aruba.it'] },
    { name: 'privateemail-submission', mx: ['mail.privateemail.com'] },
  ].map((relay) => ({ ...relay, role: 'submission' as const })),
  {
    name: 'msndr',
    mx: ['smtp.msndr.net'],
    role: 'submission',
  },
]
