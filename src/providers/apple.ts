// iCloud Mail.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const URL = 'https://support.apple.com/102322'
const rule = sourced('Postmaster information for iCloud Mail, support.apple.com/102322', READ, URL)

export const apple: ProviderPolicy = {
  name: 'icloud',
  domains: ['icloud.com', 'me.com', 'mac.com'],
  mx: ['*.icloud.com', '*.me.com', '*.apple.com'],
  marks: [/\bsupport\.apple\.com/, /\[(?:CS|HCM|HME|BS|HM|CC)\d{1,2}\]/, /\.me\.com\b/],
  url: URL,
  lane: 'icloud',
  concurrency: 10,
  messagesPerConnection: 5,
  source: SHAPING,
  date: READ,
  rules: [
    rule(
      'icloud-volume',
      'recipient-rate',
      /deferred due to excessive volume/i,
      '421 4.7.1 Messages to a@icloud.com deferred due to excessive volume. Try again later - https://support.apple.com/en-us/HT204137',
      { retryAfter: '15m' },
    ),
    rule(
      'icloud-hcm',
      'reputation-ip',
      /\[HCM\d\]/,
      '421 4.7.0 [HCM1] Your mail from 192.0.2.4 was deferred.',
      { retryAfter: '15m' },
    ),
    rule(
      'icloud-local-policy',
      'policy-other',
      /\[CS01\]/,
      '550 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137',
      { scope: 'message' },
    ),
    rule(
      'icloud-inactive',
      'recipient-disabled',
      /inactive email address|recipient no longer on server/i,
      '550 5.1.1 <a@icloud.com>: inactive email address',
    ),
    rule(
      'icloud-proofpoint',
      'blocklist',
      /support\.proofpoint\.com\/dnsbl-lookup/i,
      '550 5.7.0 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1',
    ),
  ],
}
