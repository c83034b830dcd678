#!/bin/bash
# The AWS command line, unmodified: buckets and objects by `s3` and `s3api`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bucket=cli-$RANDOM$RANDOM
fail() { echo "FAILED: $*" >&2; exit 1; }
# same WHAT FOUND EXPECTED
same() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; echo "ok     $1"; }

same 's3 mb' "$(aws s3 mb "s3://$bucket")" "make_bucket: $bucket"
mkdir -p tree/below
echo one > tree/one.txt
echo two > 'tree/below/two words.txt'
head -c 20000000 /dev/urandom > tree/large.bin
aws s3 cp tree/one.txt "s3://$bucket/one.txt" --quiet
same 's3 cp -' "$(aws s3 cp "s3://$bucket/one.txt" -)" one
echo piped | aws s3 cp - "s3://$bucket/piped.txt"
same 's3 cp from a pipe' "$(aws s3 cp "s3://$bucket/piped.txt" -)" piped
aws s3 sync tree "s3://$bucket/tree" --quiet
same 's3 sync' "$(aws s3 ls "s3://$bucket/tree/" --recursive | awk '{$1=$2=$3=""; print substr($0, 4)}' | sort | tr '\n' ',')" \
  'tree/below/two words.txt,tree/large.bin,tree/one.txt,'
same 's3 sync again' "$(aws s3 sync tree "s3://$bucket/tree")" ''
aws s3 cp "s3://$bucket/tree/large.bin" back.bin --quiet
cmp tree/large.bin back.bin || fail 'a large file came back changed'
echo 'ok     s3 cp of a large file'
same 's3 ls' "$(aws s3 ls "s3://$bucket" | awk '{print $NF}' | tr '\n' ',')" 'tree/,one.txt,piped.txt,'
aws s3 mv "s3://$bucket/one.txt" "s3://$bucket/moved.txt" --quiet
same 's3 mv' "$(aws s3 cp "s3://$bucket/moved.txt" -)" one
url=$(aws s3 presign "s3://$bucket/moved.txt")
same 's3 presign' "$(python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode().strip())' "$url")" one

same 's3api head-object' "$(aws s3api head-object --bucket "$bucket" --key moved.txt --query ContentLength --output text)" 4
same 's3api list-objects' "$(aws s3api list-objects --bucket "$bucket" --prefix tree/ --delimiter / \
  --query 'CommonPrefixes[0].Prefix' --output text)" tree/below/
aws s3api put-object-tagging --bucket "$bucket" --key moved.txt --tagging 'TagSet=[{Key=a,Value=b}]'
same 's3api get-object-tagging' "$(aws s3api get-object-tagging --bucket "$bucket" --key moved.txt \
  --query 'TagSet[0].Value' --output text)" b
same 's3 rm' "$(aws s3 rm "s3://$bucket/moved.txt")" "delete: s3://$bucket/moved.txt"
aws s3 rb "s3://$bucket" 2>/dev/null && fail 's3 rb removed a bucket that has objects'
aws s3 rb "s3://$bucket" --force > /dev/null
aws s3api head-bucket --bucket "$bucket" 2>/dev/null && fail 'the bucket is still there'
echo 'ok     s3 rb'
