// Russian and Polish providers: Yandex, Mail.ru, Rambler, Interia, WP.

import type { ProviderPolicy } from '../core/policy.ts'
import { READ, sourced } from './sourced.ts'

const YANDEX = 'https://yandex.com/support/mail/bounces/yandex.html'
const yandexRule = sourced('Yandex Mail help, bounces', READ, YANDEX)

export const yandex: ProviderPolicy = {
  name: 'yandex',
  domains: [
    'yandex.ru',
    'yandex.com',
    'ya.ru',
    'yandex.by',
    'yandex.kz',
    'yandex.ua',
    'yandex.com.tr',
    'narod.ru',
  ],
  mx: ['*.yandex.ru', '*.yandex.net'],
  marks: [/\bya\.cc\/|\byandex\.(?:ru|net|com)\b/],
  url: YANDEX,
  rules: [
    yandexRule(
      'yandex-target-policy',
      'recipient-disabled',
      /policy rejection on the target address/i,
      '550 5.7.1 Policy rejection on the target address',
    ),
    yandexRule(
      'yandex-unavailable',
      'server-busy',
      /service is currently unavailable/i,
      '451 4.7.1 Sorry, the service is currently unavailable. Please come back later.',
    ),
    yandexRule(
      'yandex-recipient-rate',
      'recipient-rate',
      /exceeded (?:their )?message rate limit/i,
      '450 4.2.1 The recipient has exceeded message rate limit. Try again later.',
    ),
    yandexRule(
      'yandex-spam',
      'content',
      /suspicion of spam/i,
      '554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc',
    ),
  ],
}

export const yandexSubmission: ProviderPolicy = {
  name: 'yandex-submission',
  mx: ['smtp.yandex.ru', 'smtp.yandex.com', 'smtp.yandex.net'],
  role: 'submission',
  url: YANDEX,
}

const MAILRU = 'https://help.mail.ru/mail/errors'
const mailruRule = sourced('Mail.ru postmaster and help', READ, MAILRU)

export const mailru: ProviderPolicy = {
  name: 'mailru',
  domains: ['mail.ru', 'bk.ru', 'inbox.ru', 'list.ru', 'internet.ru', 'xmail.ru'],
  mx: ['*.mail.ru'],
  marks: [/\bhelp\.mail\.ru|\bcorp\.mail\.ru/],
  url: MAILRU,
  lane: 'mailru',
  rules: [
    mailruRule(
      'mailru-disabled',
      'recipient-disabled',
      /mailbox .{1,80} account is disabled/i,
      '550 Message was not accepted -- invalid mailbox. Local mailbox a@mail.ru is unavailable: account is disabled',
    ),
    mailruRule(
      'mailru-full',
      'mailbox-full',
      /mailbox is full|user is over quota/i,
      '550 Message was not accepted -- invalid mailbox. Local mailbox a@mail.ru is unavailable: mailbox is full',
      {},
    ),
    mailruRule(
      'mailru-dynamic',
      'reverse-dns',
      /hosts with dynamic IP/i,
      '550 Sorry, we do not accept mail from hosts with dynamic IP or generic DNS PTR-records. Please get a custom reverse DNS name from your ISP for your host 192.0.2.30 or contact abuse@corp.mail.ru',
    ),
    mailruRule(
      'mailru-user',
      'recipient-unknown',
      /invalid mailbox|user not found/i,
      '550 Message was not accepted -- invalid mailbox. Local mailbox a@mail.ru is unavailable: user not found',
    ),
  ],
}

const ramblerRule = sourced('SMTP Field Manual, Rambler', READ, 'https://help.rambler.ru/mail/')

export const rambler: ProviderPolicy = {
  name: 'rambler',
  domains: ['rambler.ru', 'lenta.ru', 'autorambler.ru', 'myrambler.ru', 'ro.ru', 'rambler.ua'],
  mx: ['*.rambler.ru'],
  rules: [
    ramblerRule(
      'rambler-inactive',
      'recipient-disabled',
      /recipient address rejected: inactive/i,
      '540 5.7.1 <a@rambler.ru>: recipient address rejected: Inactive',
    ),
  ],
}

const interiaRule = sourced('Interia help, pomoc.poczta.interia.pl', READ, 'https://pomoc.poczta.interia.pl/')

export const interia: ProviderPolicy = {
  name: 'interia',
  domains: ['interia.pl', 'interia.eu', 'poczta.fm', 'intmail.pl', 'vip.interia.pl'],
  mx: ['*.interia.pl'],
  rules: [
    interiaRule(
      'interia-blocked',
      'reputation-ip',
      /serwer poczty .{0,60}zablokowany/i,
      '450 4.7.1 Twoj serwer poczty 192.0.2.60 zostal tymczasowo zablokowany za spam',
    ),
  ],
}
