import { describe, expect, test } from 'vitest'
import { addressKey, checkAddress, domainOf, shortenAddress, wireAddress } from '../src/address.ts'
import { SteadymailError } from '../src/core/error.ts'

describe('the domain of an address', () => {
  test.each([
    ['ann@example.com', 'example.com'],
    ['ann@EXAMPLE.Com.', 'example.com'],
    ['ann@münchen.de', 'xn--mnchen-3ya.de'],
    ['дима@почта.рф', 'xn--80a1acny.xn--p1ai'],
    ['дима@xn--80a1acny.xn--p1ai', 'xn--80a1acny.xn--p1ai'],
    ['ann@ｅｘａｍｐｌｅ.com', 'example.com'],
    ['"x@gmail.com x"@internal.domain', 'internal.domain'],
    ['"a@b.test"@c.test', 'c.test'],
    ['"quote\\"@d.test"@e.test', 'e.test'],
    ['ann@[127.0.0.1]', '[127.0.0.1]'],
    ['ann@[IPv6:0:0::1]', '[ipv6:::1]'],
    ['ann@[ipv6:::1]', '[ipv6:::1]'],
    ['a@[x@evil.test]', '[x@evil.test]'],
    ['ann@under_score.test', 'under_score.test'],
    ['nobody', ''],
    ['', ''],
  ])('%s is %s', (address, domain) => {
    expect(domainOf(address)).toBe(domain)
  })

  test('two spellings of one mailbox have one key; two local parts do not', () => {
    expect(addressKey('Ann@MÜNCHEN.de.')).toBe(addressKey('Ann@xn--mnchen-3ya.de'))
    expect(addressKey('Ann@one.test')).not.toBe(addressKey('ann@one.test'))
  })

  test('on the wire a domain has no trailing dot and no capitals', () => {
    expect(wireAddress('Ann@One.TEST.')).toBe('Ann@one.test')
    expect(wireAddress('ann@[IPv6:::1]')).toBe('ann@[IPv6:::1]')
  })
})

describe('an address that cannot be used', () => {
  const refusal = (address: string) => {
    try {
      checkAddress(address, 'mail.to[0]')
      return undefined
    } catch (error) {
      return SteadymailError.is(error) ? `${error.code} ${error.message}` : error
    }
  }

  test.each([
    ['a@b.test\r\nRCPT TO:<c@d.test>', "without CR, LF or NUL, got 'a@b.test\\x0d\\x0aRCPT TO:<c@d.test>'"],
    ['a\0@b.test', "without CR, LF or NUL, got 'a\\x00@b.test'"],
    ['root', "with a domain, as 'name@example.com', got 'root'"],
    ['root@', "with a domain, as 'name@example.com', got 'root@'"],
    ['@b.test', "with a domain, as 'name@example.com', got '@b.test'"],
  ])('%j is refused by name', (address, message) => {
    expect(refusal(address)).toBe(`BAD_MESSAGE mail.to[0]: expected an address ${message}`)
  })

  test.each(['a@b.test', '"a b"@c.test', 'a@[127.0.0.1]', 'дима@почта.рф'])('%s is fine', (address) => {
    expect(refusal(address)).toBeUndefined()
  })
})

test('logs show enough of an address to recognise it', () => {
  expect(shortenAddress('jane.doe@example.com')).toBe('j…@example.com')
  expect(shortenAddress('émile@example.com')).toBe('é…@example.com')
  expect(shortenAddress('a\r\nb@example.com\n')).toBe('a…@example.com')
  expect(shortenAddress('nobody')).toBe('n…')
})
