#!/bin/bash
# The AWS command line, unmodified: queues and their messages.
set -euo pipefail
# Version 1 of the command line has an address of its own for this service in some regions, which only the flag overrides.
sqs() { aws sqs --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
# same WHAT FOUND EXPECTED
same() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; echo "ok     $1"; }

queue=cli-$RANDOM-$$
url=$(sqs create-queue --queue-name "$queue" --attributes VisibilityTimeout=30 --query QueueUrl --output text)
same get-queue-url "$(sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text)" "$url"
same list-queues "$(sqs list-queues --queue-name-prefix "$queue" --query 'QueueUrls[0]' --output text)" "$url"
same send-message "$(sqs send-message --queue-url "$url" --message-body hello \
  --message-attributes 'kind={DataType=String,StringValue=greeting}' --query MD5OfMessageBody --output text)" \
  5d41402abc4b2a76b9719d911017c592
same send-message-batch "$(sqs send-message-batch --queue-url "$url" \
  --entries Id=a,MessageBody=one Id=b,MessageBody=two --query 'length(Successful)' --output text)" 2
received=$(sqs receive-message --queue-url "$url" --max-number-of-messages 10 --wait-time-seconds 5 \
  --message-attribute-names All --message-system-attribute-names All)
same receive-message "$(grep -c '"MessageId"' <<<"$received")" 3
same 'message attributes' "$(grep -c '"StringValue": "greeting"' <<<"$received")" 1
same get-queue-attributes "$(sqs get-queue-attributes --queue-url "$url" \
  --attribute-names ApproximateNumberOfMessagesNotVisible \
  --query Attributes.ApproximateNumberOfMessagesNotVisible --output text)" 3
handle=$(sed -n 's/.*"ReceiptHandle": "\(.*\)".*/\1/p' <<<"$received" | head -1)
sqs delete-message --queue-url "$url" --receipt-handle "$handle"
same delete-message "$(sqs get-queue-attributes --queue-url "$url" --attribute-names All \
  --query Attributes.ApproximateNumberOfMessagesNotVisible --output text)" 2
sqs tag-queue --queue-url "$url" --tags team=blue
same tag-queue "$(sqs list-queue-tags --queue-url "$url" --query Tags.team --output text)" blue
sqs purge-queue --queue-url "$url"
same purge-queue "$(sqs receive-message --queue-url "$url")" ''
sqs delete-queue --queue-url "$url"
same delete-queue "$(sqs get-queue-url --queue-name "$queue" 2>&1 | grep -c NonExistentQueue)" 1
