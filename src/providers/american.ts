// North American access providers: Comcast, Cox, Charter (Spectrum), and AT&T's older hosts.

import type { Cause } from '../core/cause.ts'
import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const COMCAST = 'https://spa.xfinity.com/postmaster'
const comcastRule = sourced('Comcast postmaster, mail error codes', READ, COMCAST)

export const comcast: ProviderPolicy = {
  name: 'comcast',
  domains: ['comcast.net', 'xfinity.com'],
  mx: ['*.comcast.net'],
  marks: [/\bpostmaster\.comcast\.net/, /\b(?:RL|BL|ES|DM)0000?\d{2,4}\b/, /\bcomcast\.net\b/],
  url: COMCAST,
  concurrency: 25,
  messagesPerConnection: 1000,
  source: 'Comcast, given to KumoMTA policy-extras/shaping.toml',
  date: READ,
  rules: [
    comcastRule(
      'comcast-rl',
      'rate-limit',
      /\bRL0000\d\d\b/,
      '421 4.1.0 192.0.2.4 Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000003',
      { retryAfter: '2h' },
    ),
    comcastRule(
      'comcast-bl-patterns',
      'reputation-ip',
      /\bBL000000\b/,
      '554 5.7.1 192.0.2.1 blocked, see http://postmaster.comcast.net/smtp-error-codes.php#BL000000',
    ),
    comcastRule(
      'comcast-bl',
      'blocklist',
      /\bBL00[01]{4}\b|found on one or more DNSBLs/,
      '554 resimta-po-11v.sys.comcast.net 192.0.2.1 found on one or more DNSBLs, see http://postmaster.comcast.net/smtp-error-codes.php#BL000010',
    ),
    comcastRule(
      'comcast-es',
      'reputation-ip',
      /\bES0000[01]\d\b/,
      '554 Comcast does not accept mail from dynamic address space, see http://postmaster.comcast.net/smtp-error-codes.php#ES000010',
    ),
    comcastRule(
      'comcast-dmarc',
      'authentication',
      /\bDM00000\d\b/,
      '550 5.2.0 Message rejected due to DMARC. Please see http://postmaster.comcast.net/smtp-error-codes.php#DM000001',
    ),
    comcastRule(
      'comcast-recent',
      'recipient-rate',
      /too many recent messages/i,
      '452 4.1.1 <a@comcast.net> too many recent messages; Try again later',
    ),
    comcastRule(
      'comcast-extended',
      'mailbox-full',
      /extended quota violation/i,
      '552 5.1.1 <a@comcast.net> recipient rejected - extended quota violation',
    ),
  ],
}

const COX = 'https://www.cox.com/business/support/email-error-codes.html'
const coxRule = sourced('Cox, Email Error Codes', READ, COX)

export const cox: ProviderPolicy = {
  name: 'cox',
  domains: ['cox.net'],
  mx: ['cxr.mx.a.cloudfilter.net', '*.cox.net'],
  marks: [/\bAUP#(?:CX|CDRBL|IPBL|URLBL)\w{0,8}/, /\bcox\.com\/email-error-codes/],
  url: COX,
  concurrency: 10,
  source: 'Cox, Email Error Codes: 10 concurrent connections',
  date: READ,
  rules: [
    coxRule(
      'cox-connections',
      'concurrency',
      /AUP#CXCNCT/,
      '421 cmsmtp blocked. Refer to Error Codes section at https://www.cox.com/email-error-codes for more information. AUP#CXCNCT',
    ),
    coxRule('cox-recipients', 'rate-limit', /AUP#CXMXRT/, '452 too many recipients. AUP#CXMXRT'),
    coxRule('cox-listed-temporary', 'reputation-ip', /AUP#CDRBL/, '554 5.7.1 blocked. AUP#CDRBL', {
      persistence: 'transient',
      retryAfter: '4h',
    }),
    coxRule(
      'cox-listed',
      'blocklist',
      /AUP#IPBL\d{2,6}/,
      '554 cxr IMP 192.0.2.1 blocked. Refer to Error Codes section for more information. AUP#IPBL0001',
    ),
    coxRule('cox-blocked', 'reputation-ip', /AUP#CXBL/, '554 cxr blocked 192.0.2.1. AUP#CXBL'),
    coxRule(
      'cox-dns',
      'reverse-dns',
      /AUP#CXDNS|rejected - no rDNS/i,
      '554 rejected. Refer to Error Codes section for more information. AUP#CXDNS',
    ),
    coxRule('cox-sender', 'authentication', /AUP#CXSNDR/, '552 5.2.0 sender rejected. AUP#CXSNDR'),
    coxRule('cox-protocol', 'protocol', /AUP#CXSMTP/, '554 5.5.0 blocked. AUP#CXSMTP'),
    coxRule('cox-url', 'blocklist', /AUP#URLBL\d{2,6}/, '552 5.2.0 message rejected. AUP#URLBL1001', {
      scope: 'message',
    }),
    coxRule('cox-account', 'policy-other', /AUP#CX(?:THRT|MJ)/, '550 5.7.1 sending limited. AUP#CXTHRT', {
      scope: 'sender',
    }),
  ],
}

// Spectrum's four digits after AUP#I, AUP#In or AUP#O, by range. 5xx as well as 4xx end by themselves where it says so.
const SPECTRUM: readonly (readonly [name: string, digits: string, cause: Cause, sample: string, ends?: 'transient'])[] = [
  ['blocked', '1000|10[1-8]0', 'reputation-ip', '1000', 'transient'],
  ['later', '1090', 'server-busy', '1090'],
  ['dns', '11[0-5]0', 'reverse-dns', '1110'],
  ['policy', '11[6-9]0', 'authentication', '1160'],
  ['listed', '12[0-5]0', 'blocklist', '1220'],
  ['ipv6', '1260', 'network', '1260'],
  ['connections', '13[0-4]0', 'concurrency', '1310', 'transient'],
  ['rate', '13[5-9]0|14\\d0', 'rate-limit', '1350', 'transient'],
  ['sender', '15[0-2]0', 'sender-rejected', '1500'],
  ['size', '1530', 'message-too-large', '1530'],
  ['session', '1540', 'connection-recycle', '1540', 'transient'],
  ['recipients', '1550', 'too-many-recipients', '1550'],
  ['invalid', '1560', 'reputation-ip', '1560'],
  ['recipients-rate', '1580', 'rate-limit', '1580', 'transient'],
] // biome-ignore format: one line each

const SPECTRUM_URL = 'https://www.spectrum.net/support/internet/understanding-email-error-codes'
const spectrumRule = sourced('Spectrum, Understanding Email Error Codes', READ, SPECTRUM_URL)

export const charter: ProviderPolicy = {
  name: 'charter',
  domains: [
    'charter.net',
    'spectrum.net',
    'twc.com',
    'roadrunner.com',
    'rr.com',
    'brighthouse.com',
    'charter.com',
  ],
  mx: ['*.charter.net', 'pkvw-mx.msg.pkvw.co.charter.net', '*.rr.com', '*.twc.com'],
  marks: [/\bAUP#(?:I|In|O|Out)-?\d{4}/],
  url: SPECTRUM_URL,
  rules: SPECTRUM.map(
    ([name, range, cause, sample, ends]): ReplyRule =>
      spectrumRule(
        `spectrum-${name}`,
        cause,
        new RegExp(`AUP#(?:In|I|Out|O)-?(?:${range})\\b`),
        `550 5.1.0 sender rejected AUP#I-${sample}`,
        {
          ...(ends === undefined ? {} : { persistence: ends }),
        },
      ),
  ),
}

const attRule = sourced('AT&T postmaster', READ)

export const att: ProviderPolicy = {
  name: 'att',
  mx: ['*.prodigy.net'],
  marks: [/\babuse-att\.net|\bDNSBL:(?:ATT)?RBL/],
  source: SHAPING,
  date: READ,
  rules: [
    attRule(
      'att-rbl',
      'blocklist',
      /DNSBL:(?:ATT)?RBL|_is_blocked/,
      '553 5.3.0 flpd594 DNSBL:RBL 521< 192.0.2.1 >_is_blocked.For assistance forward this email to abuse_rbl@abuse-att.net',
    ),
    attRule(
      'att-unknown',
      'recipient-unknown',
      /Addressee unknown|blank mailhost/i,
      '550 5.2.1 <A@PRODIGY.NET>... Addressee unknown, relay=[192.0.2.1]',
    ),
  ],
}
