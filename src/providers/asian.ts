// Chinese and Korean providers. NetEase answers in codes, Tencent with 5xx that are throttles.

import type { Cause, Persistence, Scope } from '../core/cause.ts'
import type { ProviderPolicy, ReplyRule } from '../core/policy.ts'
import { READ, SHAPING, sourced } from './sourced.ts'

const NETEASE = 'https://mail.163.com/help/help_spam_16.htm'
const neteaseRule = sourced('NetEase bounce codes, mail.163.com/help/help_spam_16.htm', READ, NETEASE)

// code of the reply it comes with, NetEase's code, cause, and what departs from the usual.
const NETEASE_CODES: readonly (readonly [sample: string, code: string, cause: Cause, scope?: Scope, persistence?: Persistence])[] = [
  ['421', 'HL:REP', 'reputation-ip'],
  ['421', 'HL:ICC', 'concurrency'],
  ['421', 'HL:IFC', 'rate-limit'],
  ['421', 'HL:MEP', 'reputation-ip'],
  ['554', 'HL:ITC', 'rate-limit', 'lane', 'transient'],
  ['554', 'HL:IFQ', 'rate-limit', 'lane', 'transient'],
  ['554', 'HL:IHU', 'reputation-ip'],
  ['554', 'HL:IPB', 'reputation-ip'],
  ['450', 'MI:CEL', 'protocol', 'message'],
  ['450', 'MI:CCL', 'protocol', 'message'],
  ['450', 'MI:DMC', 'connection-recycle'],
  ['451', 'MI:SFQ', 'rate-limit'],
  ['554', 'MI:STC', 'rate-limit', 'lane', 'transient'],
  ['550', 'MI:NHD', 'reverse-dns'],
  ['550', 'MI:IMF', 'sender-rejected'],
  ['550', 'MI:SPF', 'authentication'],
  ['550', 'MI:DMA', 'authentication'],
  ['554', 'MI:SPB', 'policy-other', 'sender'],
  ['450', 'RP:DRC', 'too-many-recipients'],
  ['450', 'RP:CCL', 'protocol', 'message'],
  ['451', 'RP:CEL', 'protocol', 'message'],
  ['451', 'RP:QRC', 'rate-limit'],
  ['550', 'RP:RCL', 'too-many-recipients'],
  ['550', 'RP:TRC', 'rate-limit', 'lane', 'transient'],
  ['550', 'RP:ORQ', 'rate-limit', 'lane', 'transient'],
  ['550', 'RP:FRL', 'relay-denied'],
  ['450', 'DT:RBL', 'blocklist'],
  ['554', 'DT:SUM', 'authentication'],
  ['451', 'DT:SPM', 'content'],
  ['450', 'WM:BLI', 'policy-other', 'lane'],
  ['450', 'WM:BLU', 'policy-other', 'sender'],
] // biome-ignore format: one line each

export const netease: ProviderPolicy = {
  name: 'netease',
  domains: ['163.com', '126.com', 'yeah.net', 'vip.163.com', 'vip.126.com', '188.com', 'netease.com'],
  mx: ['*.netease.com', '*.163.com', '*.126.com'],
  marks: [/\b(?:HL|MI|RP|DT|WM):[A-Z]{3}\b/, /\bmail\.163\.com\/\bhelp/],
  url: NETEASE,
  lane: 'netease',
  concurrency: 4,
  messagesPerConnection: 7,
  source: SHAPING,
  date: READ,
  rules: [
    ...NETEASE_CODES.map(
      ([sample, code, cause, scope, persistence]): ReplyRule =>
        neteaseRule(
          `netease-${code.toLowerCase().replace(':', '-')}`,
          cause,
          new RegExp(`\\b${code}\\b`),
          `${sample} ${code} 163 mx8`,
          {
            ...(scope === undefined ? {} : { scope }),
            ...(persistence === undefined ? {} : { persistence }),
            ...(code === 'DT:SPM' ? { retryAfter: '2m' as const } : {}),
          },
        ),
    ),
    neteaseRule(
      'netease-login',
      'auth-credentials',
      /too much fail authentication|auth error limit/i,
      '451 Requested mail action not taken: too much fail authentication',
      { scope: 'sender' },
    ),
    neteaseRule(
      'netease-user',
      'recipient-disabled',
      /user (?:suspended|hangup|rejected|is locked)/i,
      '550 User suspended: a@163.com',
    ),
  ],
}

const TENCENT = 'https://service.mail.qq.com/'
const tencentRule = sourced('Tencent mail help, service.mail.qq.com', READ, TENCENT)

export const tencent: ProviderPolicy = {
  name: 'qq',
  domains: ['qq.com', 'foxmail.com', 'vip.qq.com'],
  mx: ['*.qq.com'],
  marks: [/\bservice\.(?:exmail|mail)\.qq\.com/],
  url: TENCENT,
  lane: 'qq',
  concurrency: 4,
  messagesPerConnection: 8,
  source: SHAPING,
  date: READ,
  rules: [
    tencentRule(
      'qq-frequency',
      'rate-limit',
      /(?:ip|connection|domain|sender) frequency (?:is )?limited/i,
      '550 Sender frequency limited. http://service.mail.qq.com/cgi-bin/help?subtype=1&&no=1000723',
      { persistence: 'transient', scope: 'lane', retryAfter: '1h' },
    ),
    tencentRule(
      'qq-receiving',
      'recipient-rate',
      /mailbox unavailable or access deni(?:n)?ed|frequency of receiving messages is limited/i,
      '550 Mailbox unavailable or access denied',
      { persistence: 'transient', retryAfter: '1h' },
    ),
    tencentRule(
      'qq-content',
      'content',
      /mail content denied|suspected spam\b(?! ip)|spam is embedded/i,
      '550 Mail content denied. http://service.mail.qq.com/cgi-bin/help?subtype=1&&no=1000726',
    ),
    tencentRule(
      'qq-ip',
      'reputation-ip',
      /suspected (?:spam ip|bounce attacks)|connection denied/i,
      '550 Connection denied. http://service.mail.qq.com/detail/122/170',
      { scope: 'lane' },
    ),
    tencentRule(
      'qq-recipient-refuses',
      'policy-other',
      /rejected by recipients?/i,
      '550 Mail is rejected by recipients. http://service.mail.qq.com/detail/122/92',
      { scope: 'recipient' },
    ),
    tencentRule(
      'qq-deactivated',
      'recipient-disabled',
      /deactivated mailbox/i,
      '550 The recipient is a deactivated mailbox',
    ),
    tencentRule(
      'qq-not-found',
      'recipient-unknown',
      /mailbox not found|bad address syntax/i,
      '550 Mailbox not found. http://service.mail.qq.com/detail/122/169',
    ),
  ],
}

const naverRule = sourced('Naver mail, realip.naver.com', READ, 'http://realip.naver.com')

export const naver: ProviderPolicy = {
  name: 'naver',
  domains: ['naver.com', 'nate.com', 'hanmail.net', 'daum.net'],
  mx: ['*.naver.com', '*.nate.com', '*.hanmail.net', '*.daum.net'],
  marks: [/\brealip\.naver\.com/],
  rules: [
    naverRule(
      'naver-filtered',
      'reputation-ip',
      /is filtered and this connection will be closed|register your IP/i,
      '421 4.3.2 Your IP(192.0.2.31) is filtered and this connection will be closed. You must register your IP to http://realip.naver.com',
    ),
    naverRule(
      'daum-pattern',
      'content',
      /blocked using spam pattern/i,
      '553 Blocked Using Spam Pattern, Your Message May Contain The Spam Contents',
    ),
  ],
}
